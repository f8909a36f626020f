// mote.hpp: mote.h for C++11 and later, header-only.
//
//     mote::Model model("model.gguf");
//     mote::Session session(model);
//     session.feed_text("Once upon a time");
//     session.write([](const mote::Piece &piece) { std::cout << piece.text; return true; });
//
// Failures are exceptions (mote::Error, with the status and the sentence): constructors have no other
// way to fail, and RAII needs constructors. Who builds without exceptions uses mote.h, whose functions
// these are, one by one; handles are given by get(). Rules for threads, memory and lifetimes: mote.h.
#ifndef MOTE_HPP
#define MOTE_HPP

#include "mote.h"

#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace mote {

// A status other than MOTE_OK.
class Error : public std::runtime_error {
public:
    Error(mote_status status, const std::string &sentence)
        : std::runtime_error(sentence), status_(status) {}
    // enum mote_status_code.
    mote_status status() const noexcept { return status_; }

private:
    mote_status status_;
};

namespace detail {

inline void check(mote_status status) {
    if (status != MOTE_OK) throw Error(status, mote_status_text(status));
}

// The sentence that an `error` buffer received, or else the status' own.
inline void check(mote_status status, const char *sentence) {
    if (status != MOTE_OK) throw Error(status, *sentence ? sentence : mote_status_text(status));
}

} // namespace detail

inline std::string version() { return mote_version(); }

// A model; copies share it.
class Model {
public:
    // Maps a file.
    explicit Model(const std::string &path,
                   mote_model_options options = MOTE_MODEL_OPTIONS_INIT) {
        char sentence[256] = "";
        options.error = sentence;
        options.error_size = sizeof sentence;
        detail::check(mote_model_open(path.c_str(), &options, &model_), sentence);
    }
    // Uses bytes where they lie: they must outlive the model and its sessions.
    Model(const void *bytes, std::size_t size,
          mote_model_options options = MOTE_MODEL_OPTIONS_INIT) {
        char sentence[256] = "";
        options.error = sentence;
        options.error_size = sizeof sentence;
        detail::check(mote_model_from_memory(bytes, size, &options, &model_), sentence);
    }
    Model(const Model &other) : model_(other.model_) {
        if (model_) detail::check(mote_model_retain(model_));
    }
    Model(Model &&other) noexcept : model_(other.model_) { other.model_ = nullptr; }
    Model &operator=(Model other) noexcept {
        std::swap(model_, other.model_);
        return *this;
    }
    ~Model() { mote_model_free(model_); }

    mote_model *get() const noexcept { return model_; }

    mote_model_info info() const {
        mote_model_info info = MOTE_MODEL_INFO_INIT;
        detail::check(mote_model_get_info(model_, &info));
        return info;
    }

    std::vector<std::uint32_t> tokenize(const std::string &text,
                                        std::uint32_t flags = MOTE_ADD_BOS) const {
        std::vector<std::uint32_t> ids(text.size() / 2 + 16);
        std::size_t n = 0;
        mote_status status =
            mote_tokenize(model_, text.data(), text.size(), flags, ids.data(), ids.size(), &n);
        if (status == MOTE_TOO_SMALL) {
            ids.resize(n);
            status =
                mote_tokenize(model_, text.data(), text.size(), flags, ids.data(), ids.size(), &n);
        }
        detail::check(status);
        ids.resize(n);
        return ids;
    }

    std::string detokenize(const std::vector<std::uint32_t> &ids, std::uint32_t flags = 0) const {
        const std::uint32_t none = 0;
        const std::uint32_t *first = ids.empty() ? &none : ids.data();
        std::string text(ids.size() * 8 + 64, '\0');
        std::size_t size = 0;
        mote_status status =
            mote_detokenize(model_, first, ids.size(), flags, &text[0], text.size(), &size);
        if (status == MOTE_TOO_SMALL) {
            text.resize(size);
            status =
                mote_detokenize(model_, first, ids.size(), flags, &text[0], text.size(), &size);
        }
        detail::check(status);
        text.resize(size);
        return text;
    }

    bool ends(std::uint32_t id) const {
        std::uint32_t ends = 0;
        detail::check(mote_token_ends(model_, id, &ends));
        return ends != 0;
    }

private:
    mote_model *model_ = nullptr;
};

// One step of a text.
struct Piece {
    std::uint32_t id; // MOTE_NO_TOKEN if the text had ended before
    std::string text; // whole UTF-8 characters
    mote_stop stop;
    mote_status degraded; // not MOTE_OK: the token is the fallback's, and this is why
};

// How text is written: mote_writing_options with strings and vectors that it owns.
struct Writing {
    mote_writing_options options = MOTE_WRITING_OPTIONS_INIT;
    std::vector<std::string> stops;
    std::vector<mote_logit_bias> biases;
};

// A session; it can be moved, not copied.
class Session {
public:
    explicit Session(const Model &model,
                     mote_session_options options = MOTE_SESSION_OPTIONS_INIT) {
        char sentence[256] = "";
        options.error = sentence;
        options.error_size = sizeof sentence;
        detail::check(mote_session_new(model.get(), &options, &session_), sentence);
    }
    Session(const Session &) = delete;
    Session(Session &&other) noexcept : session_(other.session_) { other.session_ = nullptr; }
    Session &operator=(Session other) noexcept {
        std::swap(session_, other.session_);
        return *this;
    }
    ~Session() { mote_session_free(session_); }

    mote_session *get() const noexcept { return session_; }

    // What a session with these options would take.
    static mote_session_plan_info plan(const Model &model,
                                       mote_session_options options = MOTE_SESSION_OPTIONS_INIT) {
        char sentence[256] = "";
        options.error = sentence;
        options.error_size = sizeof sentence;
        mote_session_plan_info plan = MOTE_SESSION_PLAN_INFO_INIT;
        detail::check(mote_session_plan(model.get(), &options, &plan), sentence);
        return plan;
    }

    void begin(const Writing &writing) {
        mote_writing_options options = writing.options;
        std::vector<const char *> stops;
        for (const std::string &stop : writing.stops) stops.push_back(stop.c_str());
        options.stops = stops.data();
        options.n_stops = stops.size();
        options.biases = writing.biases.data();
        options.n_biases = writing.biases.size();
        check(mote_session_begin(session_, &options));
    }
    void feed(const std::vector<std::uint32_t> &ids, mote_origin origin = MOTE_PROMPT) {
        const std::uint32_t none = 0;
        check(mote_session_feed(session_, ids.empty() ? &none : ids.data(), ids.size(), origin));
    }
    void feed_text(const std::string &text, std::uint32_t flags = MOTE_ADD_BOS) {
        check(mote_session_feed_text(session_, text.data(), text.size(), flags));
    }
    Piece next() {
        mote_piece piece = MOTE_PIECE_INIT;
        check(mote_session_next(session_, &piece));
        return Piece{piece.id, std::string(piece.text, piece.text_size),
                     static_cast<mote_stop>(piece.stop), static_cast<mote_status>(piece.degraded)};
    }
    // Shows each piece to `show`, which may throw, until the text ends or `show` returns false
    // (MOTE_STOP_NONE); why it ended.
    template <typename Show> mote_stop write(Show show) {
        for (;;) {
            Piece piece = next();
            if (!show(static_cast<const Piece &>(piece)) || piece.stop != MOTE_STOP_NONE)
                return piece.stop;
        }
    }
    std::uint32_t sample() {
        std::uint32_t id = 0;
        check(mote_session_sample(session_, &id));
        return id;
    }
    std::vector<float> logits() {
        const float *first = nullptr;
        std::size_t n = 0;
        check(mote_session_logits(session_, &first, &n));
        return std::vector<float>(first, first + n);
    }
    // ln p of each token, given all before it.
    std::vector<double> score(const std::vector<std::uint32_t> &ids) {
        std::vector<double> scores(ids.size() + 1);
        const std::uint32_t none = 0;
        check(mote_session_score(session_, ids.empty() ? &none : ids.data(), ids.size(),
                                 scores.data()));
        scores.pop_back();
        return scores;
    }
    // The embedding of a text that stands alone; `n_embd` is the model's.
    std::vector<float> embed(const std::vector<std::uint32_t> &ids, std::size_t n_embd,
                             std::uint32_t pooling = MOTE_POOLING_AUTO, std::uint32_t flags = 0) {
        std::vector<float> embedding(n_embd + 1);
        const std::uint32_t none = 0;
        check(mote_session_embed(session_, ids.empty() ? &none : ids.data(), ids.size(), pooling,
                                 flags, embedding.data(), n_embd));
        embedding.pop_back();
        return embedding;
    }
    std::size_t position() const { return place().first; }
    std::size_t capacity() const { return place().second; }
    std::vector<std::uint32_t> tokens() const {
        std::vector<std::uint32_t> ids(position() + 1);
        std::size_t n = 0;
        check(mote_session_tokens(session_, ids.data(), ids.size(), &n));
        ids.resize(n);
        return ids;
    }
    void rewind(std::size_t position) { check(mote_session_rewind(session_, position)); }
    std::vector<std::uint8_t> save() {
        std::size_t size = 0;
        check(mote_session_saved_size(session_, &size));
        std::vector<std::uint8_t> bytes(size);
        check(mote_session_save(session_, bytes.data(), bytes.size(), &size));
        return bytes;
    }
    void restore(const std::vector<std::uint8_t> &bytes) {
        const std::uint8_t none = 0;
        check(mote_session_restore(session_, bytes.empty() ? &none : bytes.data(), bytes.size()));
    }
    void deadline(std::uint64_t microseconds) {
        check(mote_session_set_deadline(session_, microseconds));
    }
    // Answers in time, and where logits are not finite. The session keeps it alive.
    void fallback(const Model &model) {
        check(mote_session_set_fallback(session_, model.get(), nullptr, 0));
    }
    // Why the last results are the fallback's; MOTE_OK if they are not.
    mote_status degraded() const {
        mote_status why = MOTE_OK;
        check(mote_session_degraded(session_, &why));
        return why;
    }
    // From any thread, while the session lives.
    void cancel() const { detail::check(mote_session_cancel(session_)); }

private:
    void check(mote_status status) const {
        if (status != MOTE_OK) {
            bool is_own = status != MOTE_BUSY && status != MOTE_INTERNAL && session_;
            throw Error(status, is_own ? mote_session_error(session_) : mote_status_text(status));
        }
    }
    std::pair<std::size_t, std::size_t> place() const {
        std::size_t position = 0, capacity = 0;
        check(mote_session_position(session_, &position, &capacity));
        return std::make_pair(position, capacity);
    }

    mote_session *session_ = nullptr;
};

} // namespace mote

#endif
