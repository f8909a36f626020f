// stream.cpp: a text piece by piece, up to a stop string; another thread may cancel it.
// usage: stream MODEL.gguf TEXT STOP [MICROSECONDS]     cancelled after so many microseconds
#include <mote.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

int main(int argc, char **argv) try {
    if (argc < 4) {
        std::cerr << "usage: stream MODEL.gguf TEXT STOP [MICROSECONDS]\n";
        return 2;
    }
    mote::Model model(argv[1]);
    mote_session_options options = MOTE_SESSION_OPTIONS_INIT;
    options.threads = 2;
    mote::Session session(model, options);

    mote::Writing writing;
    writing.options.temperature = 0;
    writing.options.ignore_eos = 1;
    writing.options.max_tokens = 200;
    writing.stops = {argv[3]};
    session.begin(writing);

    std::thread canceller;
    if (argc > 4) {
        canceller = std::thread([&] {
            std::this_thread::sleep_for(std::chrono::microseconds(std::atol(argv[4])));
            session.cancel(); // the one call that another thread may make
        });
    }
    int result = 0;
    try {
        session.feed_text(argv[2]);
        mote_stop stop = session.write([](const mote::Piece &piece) {
            std::cout << piece.text << std::flush;
            return true;
        });
        std::cerr << "\nstop: " << (stop == MOTE_STOP_STRING ? "string" : "length") << '\n';
    } catch (const mote::Error &error) {
        if (error.status() != MOTE_CANCELLED) result = 1;
        std::cerr << '\n' << error.what() << " after " << session.position() << " tokens\n";
    }
    if (canceller.joinable()) canceller.join(); // before the session goes
    return result;
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
