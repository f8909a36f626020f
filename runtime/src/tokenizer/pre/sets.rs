//! Sets of characters that rule sets name.

use super::super::characters::{Class, Detail, detail_of, is_in};

/// A set of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// `\p{N}`.
    Number,
    /// `\p{L}`.
    Letter,
    /// `\p{P}`.
    Punctuation,
    /// `\p{P}` and ASCII's symbols.
    AllPunctuation,
    /// `[\p{P}$+<=>^~|]`.
    DefaultPunctuation,
    /// `[\r\n]`.
    Newline,
    /// `[^(\s|.,!?…。，、।۔،)]`.
    Bloom,
    /// Letters of scripts with case, as DeepSeek's first models list them.
    DeepseekLetter,
    /// `[!-/:-~！-／：-～‘-‟　-。]`.
    DeepseekPunctuation,
    /// `[一-龥ࠀ-一가-퟿]`.
    DeepseekEastAsian,
    /// `[一-龥぀-ゟ゠-ヿ]`.
    EastAsian,
    /// The scripts that AFMoE's rules list: Han, Kana, Thai, Lao, Khmer, Burmese, Hangul.
    AfmoeAsian,
    /// `[가-힣ㄱ-ㆎ]`.
    Hangul,
    /// `[！…“”‘’—：；，、-〿︰-﹏]`.
    WidePunctuation,
    /// `[ㄅ-ㄯ]`.
    Bopomofo,
}

type Ranges = &'static [(u32, u32)];

impl Set {
    /// Whether a character is in the set. `None` is a byte that is no character: as U+FFFD.
    #[inline]
    pub(super) fn has(self, character: Option<char>, class: Class) -> bool {
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        let is_punctuation =
            || class == Class::Other && detail_of(character, class) == Detail::Punctuation;
        match self {
            Set::Number => class == Class::Number,
            Set::Letter => class == Class::Letter,
            Set::Newline => class == Class::Newline,
            Set::Punctuation => is_punctuation(),
            Set::AllPunctuation => character.is_ascii_punctuation() || is_punctuation(),
            Set::DefaultPunctuation => "$+<=>^~|".contains(character) || is_punctuation(),
            Set::Bloom => !class.is_space() && !"(|.,!?…。，、।۔،)".contains(character),
            Set::DeepseekLetter => is_in(DEEPSEEK_LETTERS, character),
            Set::DeepseekPunctuation => is_in(DEEPSEEK_PUNCTUATION, character),
            Set::DeepseekEastAsian => is_in(DEEPSEEK_EAST_ASIAN, character),
            Set::EastAsian => is_in(EAST_ASIAN, character),
            Set::AfmoeAsian => is_in(AFMOE_ASIAN, character),
            Set::Hangul => is_in(HANGUL, character),
            Set::WidePunctuation => is_in(WIDE_PUNCTUATION, character),
            Set::Bopomofo => is_in(BOPOMOFO, character),
        }
    }
}

/// Whether a character is of the script Han.
pub(super) fn is_han(character: char) -> bool {
    is_in(HAN, character)
}

/// `\w`, as regular expressions of Unicode have it, but for marks that are letters to them.
pub(super) fn is_word(character: char, class: Class) -> bool {
    // Letters in circles and squares are symbols that count as letters.
    let is_letter_like = || {
        is_in(
            &[(0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169), (0x1F170, 0x1F189)],
            character,
        )
    };
    let is_connector = || {
        is_in(
            &[
                (0x5F, 0x5F),
                (0x203F, 0x2040),
                (0x2054, 0x2054),
                (0xFE33, 0xFE34),
                (0xFE4D, 0xFE4F),
                (0xFF3F, 0xFF3F),
            ],
            character,
        )
    };
    match (class, detail_of(character, class)) {
        (Class::Letter, _) => true,
        (Class::Number, detail) => detail != Detail::Plain,
        (Class::Other, Detail::Mark) => true,
        (Class::Other, Detail::Punctuation) => is_connector(),
        (Class::Other, Detail::Symbol) => is_letter_like(),
        // Join controls.
        (Class::Other, _) => matches!(character, '\u{200C}' | '\u{200D}'),
        _ => false,
    }
}

const EAST_ASIAN: Ranges = &[(0x3040, 0x30FF), (0x4E00, 0x9FA5)];
const DEEPSEEK_EAST_ASIAN: Ranges = &[(0x800, 0x9FA5), (0xAC00, 0xD7FF)];
const HANGUL: Ranges = &[(0x3131, 0x318E), (0xAC00, 0xD7A3)];
const BOPOMOFO: Ranges = &[(0x3105, 0x312F)];
const WIDE_PUNCTUATION: Ranges = &[
    (0x2014, 0x2014),
    (0x2018, 0x2019),
    (0x201C, 0x201D),
    (0x2026, 0x2026),
    (0x3001, 0x303F),
    (0xFE30, 0xFE4F),
    (0xFF01, 0xFF01),
    (0xFF0C, 0xFF0C),
    (0xFF1A, 0xFF1B),
];
const DEEPSEEK_PUNCTUATION: Ranges = &[
    (0x21, 0x2F),
    (0x3A, 0x7E),
    (0x2018, 0x201F),
    (0x3000, 0x3002),
    (0xFF01, 0xFF0F),
    (0xFF1A, 0xFF5E),
];
const AFMOE_ASIAN: Ranges = &[
    (0xE40, 0xEFF),
    (0x1000, 0x109F),
    (0x1100, 0x11FF),
    (0x1780, 0x17FF),
    (0x2F00, 0x2FDF),
    (0x3040, 0x30FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0xFAFF),
    (0xFF65, 0xFF9F),
];
const HAN: Ranges = &[
    (0x2E80, 0x2E99),
    (0x2E9B, 0x2EF3),
    (0x2F00, 0x2FD5),
    (0x3005, 0x3005),
    (0x3007, 0x3007),
    (0x3021, 0x3029),
    (0x3038, 0x303B),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFA6D),
    (0xFA70, 0xFAD9),
    (0x16FE2, 0x16FE3),
    (0x16FF0, 0x16FF1),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B739),
    (0x2B740, 0x2B81D),
    (0x2B820, 0x2CEA1),
    (0x2CEB0, 0x2EBE0),
    (0x2EBF0, 0x2EE5D),
    (0x2F800, 0x2FA1D),
    (0x30000, 0x3134A),
    (0x31350, 0x323AF),
];
const DEEPSEEK_LETTERS: Ranges = &[
    (0x41, 0x5A),
    (0x61, 0x7A),
    (0xB5, 0xB5),
    (0xC0, 0xD6),
    (0xD8, 0xF6),
    (0xF8, 0x1BA),
    (0x1BC, 0x1BF),
    (0x1C4, 0x293),
    (0x295, 0x2AF),
    (0x370, 0x373),
    (0x376, 0x377),
    (0x37B, 0x37D),
    (0x37F, 0x37F),
    (0x386, 0x386),
    (0x388, 0x38A),
    (0x38C, 0x38C),
    (0x38E, 0x3A1),
    (0x3A3, 0x3F5),
    (0x3F7, 0x481),
    (0x48A, 0x52F),
    (0x531, 0x556),
    (0x10A0, 0x10C5),
    (0x13A0, 0x13F5),
    (0x13F8, 0x13FD),
    (0x1C90, 0x1CBA),
    (0x1CBD, 0x1CBF),
    (0x1D00, 0x1D2B),
    (0x1D6B, 0x1D77),
    (0x1D79, 0x1D9A),
    (0x1E00, 0x1F15),
    (0x1F18, 0x1F1D),
    (0x1F20, 0x1F45),
    (0x1F48, 0x1F4D),
    (0x1F50, 0x1F57),
    (0x1F59, 0x1F59),
    (0x1F5B, 0x1F5B),
    (0x1F5D, 0x1F5D),
    (0x1F5F, 0x1F7D),
    (0x1F80, 0x1FB4),
    (0x1FB6, 0x1FBC),
    (0x1FBE, 0x1FBE),
    (0x1FC2, 0x1FC4),
    (0x1FC6, 0x1FCC),
    (0x1FD0, 0x1FD3),
    (0x1FD6, 0x1FDB),
    (0x1FE0, 0x1FEC),
    (0x1FF2, 0x1FF4),
    (0x1FF6, 0x1FFC),
    (0x2102, 0x2102),
    (0x2107, 0x2107),
    (0x210A, 0x2113),
    (0x2115, 0x2115),
    (0x2119, 0x211D),
    (0x2124, 0x2124),
    (0x2126, 0x2126),
    (0x2128, 0x2128),
    (0x212A, 0x212D),
    (0x212F, 0x2134),
    (0x2139, 0x2139),
    (0x213C, 0x213F),
    (0x2145, 0x2149),
    (0x214E, 0x214E),
    (0x2183, 0x2184),
    (0x2C00, 0x2C7B),
    (0x2C7E, 0x2CE4),
    (0x2CEB, 0x2CEE),
    (0x2CF2, 0x2CF3),
    (0xA640, 0xA66D),
    (0xA680, 0xA69B),
    (0xA722, 0xA76F),
    (0xA771, 0xA787),
    (0xA78B, 0xA78E),
    (0xAB70, 0xABBF),
    (0xFB00, 0xFB06),
    (0xFB13, 0xFB17),
    (0xFF21, 0xFF3A),
    (0xFF41, 0xFF5A),
    (0x10400, 0x1044F),
    (0x104B0, 0x104D3),
    (0x104D8, 0x104FB),
    (0x10C80, 0x10CB2),
    (0x10CC0, 0x10CF2),
    (0x118A0, 0x118DF),
    (0x1E900, 0x1E943),
];
