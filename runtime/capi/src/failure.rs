//! Status codes, and failures with their sentence.

use core::ffi::{CStr, c_char};
use core::fmt::{self, Write as _};

use mote_formats::gguf::ParseError;
use mote_runtime::memory::TooSmall;
use mote_runtime::tokenizer::{DecodeError, EncodeError};
use mote_runtime::{BudgetError, LoadError, RestoreError, SessionError};

macro_rules! codes {
    ($($code:ident = $number:literal, $text:literal;)*) => {
        /// What a function returns; 0 is success.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        pub enum Code { $(#[doc = $text] $code = $number),* }

        impl Code {
            /// Every code that is a failure.
            pub const ALL: &[Code] = &[$(Code::$code),*];

            /// One sentence for a status, NUL-terminated.
            pub(crate) fn text_of(status: i32) -> &'static CStr {
                let text = match status {
                    0 => "success\0",
                    $($number => concat!($text, "\0"),)*
                    _ => "not a status of this library\0",
                };
                CStr::from_bytes_with_nul(text.as_bytes()).unwrap_or_default()
            }
        }
    };
}

codes! {
    Null = 1, "an argument is NULL";
    Invalid = 2, "an argument or option is out of its range";
    BadHandle = 3, "not a handle of this kind, or freed";
    Busy = 4, "the session is in use by another call";
    Cancelled = 5, "cancelled";
    Deadline = 6, "the deadline has passed";
    Io = 7, "the file cannot be opened or read";
    Format = 8, "the bytes are not a sound GGUF file";
    Unsupported = 9, "the model is of a kind that is not supported";
    NoMemory = 10, "the system has no memory left";
    TooSmall = 11, "a buffer is too small";
    ContextFull = 12, "the context has no room for so many tokens";
    Token = 13, "a token id is not in the vocabulary";
    Empty = 14, "there is no token to continue from";
    NotFinite = 15, "the logits are not finite";
    State = 16, "the saved session does not fit this one, or is damaged";
    Budget = 17, "the memory budget is too small for a session";
    Text = 18, "the text cannot be tokenised";
    Internal = 19, "internal error";
}

pub(crate) type Result<T> = core::result::Result<T, Failure>;

/// A code, and a sentence with the detail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub code: Code,
    pub sentence: Sentence,
}

impl Failure {
    pub fn new(code: Code, detail: impl fmt::Display) -> Failure {
        Failure { code, sentence: Sentence::new(detail) }
    }

    /// An option that cannot be.
    pub fn invalid(what: &str) -> Failure {
        Failure::new(Code::Invalid, what)
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Failure::new(code, Code::text_of(code as i32).to_str().unwrap_or_default())
    }
}

impl From<TooSmall> for Failure {
    fn from(error: TooSmall) -> Self {
        Failure::new(Code::TooSmall, error)
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Failure::new(Code::Format, error)
    }
}

#[cfg(feature = "std")]
impl From<mote_formats::mmap::OpenError> for Failure {
    fn from(error: mote_formats::mmap::OpenError) -> Self {
        Failure::new(Code::Io, error)
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        use mote_runtime::{KeyError, TensorError, tokenizer};
        let code = match error {
            LoadError::Memory(_) => Code::TooSmall,
            LoadError::Misaligned => Code::Invalid,
            LoadError::Architecture(_)
            | LoadError::Key(_, KeyError::Unsupported)
            | LoadError::Tensor(
                _,
                _,
                TensorError::Type(_) | TensorError::NotF32(_) | TensorError::Unused,
            )
            | LoadError::Tokenizer(tokenizer::LoadError::Model) => Code::Unsupported,
            _ => Code::Format,
        };
        Failure::new(code, error)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let code = match error {
            SessionError::Token(_) => Code::Token,
            SessionError::ContextFull { .. } => Code::ContextFull,
            SessionError::Empty => Code::Empty,
            SessionError::NotFinite => Code::NotFinite,
            SessionError::Damaged => Code::Io,
            SessionError::Memory(_) => Code::TooSmall,
            SessionError::Encoder => Code::Unsupported,
            _ => Code::Invalid,
        };
        Failure::new(code, error)
    }
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        let code = match error {
            EncodeError::OutputTooSmall { .. } | EncodeError::ScratchTooSmall(_) => Code::TooSmall,
            EncodeError::OutOfMemory => Code::NoMemory,
            _ => Code::Text,
        };
        Failure::new(code, error)
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        let code = match error {
            DecodeError::UnknownId(_) => Code::Token,
            _ => Code::TooSmall,
        };
        Failure::new(code, error)
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        Failure::new(Code::State, error)
    }
}

impl From<BudgetError> for Failure {
    fn from(error: BudgetError) -> Self {
        match error {
            BudgetError::Options(error) => error.into(),
            BudgetError::TooSmall { .. } => Failure::new(Code::Budget, error),
        }
    }
}

/// A sentence of limited length, NUL-terminated.
#[derive(Clone, Copy)]
pub(crate) struct Sentence {
    bytes: [u8; Sentence::ROOM],
    len: usize,
}

impl Sentence {
    const ROOM: usize = 256;
    pub const EMPTY: Sentence = Sentence { bytes: [0; Sentence::ROOM], len: 0 };

    /// What does not fit is cut off, between characters.
    pub fn new(detail: impl fmt::Display) -> Sentence {
        let mut sentence = Sentence::EMPTY;
        let _ = write!(sentence, "{detail}");
        sentence
    }

    pub fn as_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }

    /// The sentence and its NUL.
    pub fn with_nul(&self) -> &[u8] {
        self.bytes.get(..=self.len).unwrap_or(&[0])
    }
}

impl fmt::Write for Sentence {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The last byte stays NUL. No indices: a panic's own sentence is written here.
        let room = self.bytes.get_mut(self.len..Sentence::ROOM - 1).unwrap_or_default();
        let most = room.len().min(text.len());
        let fits = (0..=most).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        room.iter_mut().zip(text.bytes().take(fits)).for_each(|(place, byte)| *place = byte);
        self.len += fits;
        if fits < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl fmt::Debug for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.bytes.get(..self.len).unwrap_or_default();
        f.write_str(core::str::from_utf8(text).unwrap_or_default())
    }
}
