//! `config.json`: a model's hyper-parameters, as transformers 4 and 5 write them.

use std::fmt;
use std::format;
use std::ops::RangeInclusive;
use std::string::{String, ToString};
use std::vec::Vec;

use serde_json::{Map, Value};

use crate::gguf::Text;

/// The largest number of anything that is believed.
const MAX_COUNT: u64 = 1 << 31;

/// Characters of a value that an error repeats.
const MAX_SHOWN: usize = 120;

/// The keys of a `config.json`. A key whose value is `null` is as good as absent, and keys that
/// ask to run code (`auto_map`) are never looked at.
#[derive(Clone, Debug)]
pub struct Config {
    map: Map<String, Value>,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, with its objects before it; empty for the file as a whole.
    pub key: String,
    /// What is wrong with it.
    pub reason: ConfigReason,
}

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigReason {
    /// No JSON object.
    Json(String),
    /// It must be there.
    Missing,
    /// Its value is of another type: the type that it should have.
    WrongType(&'static str),
    /// No model has such a value.
    OutOfRange(String),
    /// A value that asks for something that is not supported.
    Unsupported(String),
}

/// Which layers a position embedding is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// Those that see every position: all, in most models.
    Full,
    /// Those with a sliding window.
    Sliding,
}

/// Rotary position embedding of some layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// The frequencies' base.
    pub theta: f64,
    /// The share of a head's dimensions that turn, where one is given.
    pub partial: Option<f64>,
    /// How positions beyond those of training are met.
    pub scaling: Scaling,
}

/// How the frequencies are changed for long texts.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// Not at all.
    None,
    /// Positions are divided.
    Linear {
        /// By this.
        factor: f64,
    },
    /// Low frequencies are divided, high ones kept (Llama 3.1).
    Llama3 {
        /// What low frequencies are divided by.
        factor: f64,
        /// Wavelengths above the trained context over this are divided.
        low: f64,
        /// Wavelengths below the trained context over this are kept.
        high: f64,
        /// The trained context.
        original: u64,
    },
    /// The frequencies of a whole head, of which the first turn, by [`Rope::partial`], and the others stand
    /// still (Gemma 4).
    Proportional {
        /// Positions are divided by this.
        factor: f64,
    },
    /// A factor for each frequency: one list for short texts, one for long ones (LongRoPE).
    Long {
        /// For texts up to the trained context.
        short: Vec<f64>,
        /// For longer ones.
        long: Vec<f64>,
    },
    /// YaRN (Peng et al. 2023).
    Yarn {
        /// The stretching.
        factor: f64,
        /// The trained context.
        original: u64,
        /// `attention_factor`, `beta_fast` and `beta_slow`, where given.
        attention: Option<f64>,
        /// See `attention`.
        beta_fast: Option<f64>,
        /// See `attention`.
        beta_slow: Option<f64>,
        /// Whether the bounds between kept and divided frequencies are whole numbers.
        truncate: bool,
    },
}

/// A file that Python wrote: it may have numbers that JSON does not have.
pub(crate) fn json(text: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(text).or_else(|_| serde_json::from_slice(&named(text)))
}

/// With the numbers that JSON does not have as maps of their names, as later versions of transformers write
/// them.
fn named(text: &[u8]) -> Vec<u8> {
    const OTHERS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let (mut out, mut rest, mut quoted) = (Vec::with_capacity(text.len()), text, false);
    while let Some((&byte, tail)) = rest.split_first() {
        let other = OTHERS.iter().find_map(|name| Some((name, rest.strip_prefix(*name)?)));
        match (other.filter(|_| !quoted), tail.split_first()) {
            (Some((name, behind)), _) => {
                for part in [br#"{"__float__":""#, *name, br#""}"#] {
                    out.extend_from_slice(part);
                }
                rest = behind;
            }
            (None, Some((&escaped, behind))) if quoted && byte == b'\\' => {
                out.extend([byte, escaped]);
                rest = behind;
            }
            _ => {
                quoted ^= byte == b'"';
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

impl Config {
    /// Reads the file's text.
    pub fn parse(text: &[u8]) -> Result<Config, ConfigError> {
        match json(text) {
            Ok(Value::Object(map)) => Ok(Config { map }),
            Ok(_) => Err(error("", ConfigReason::Json("not an object".to_string()))),
            Err(what) => Err(error("", ConfigReason::Json(what.to_string()))),
        }
    }

    /// The part about text of a model that takes images, too (`text_config`); its keys go before
    /// those outside.
    pub fn into_text(mut self) -> Config {
        if let Some(Value::Object(text)) = self.map.remove("text_config") {
            self.map.extend(text.into_iter().filter(|(_, value)| !value.is_null()));
        }
        self
    }

    /// The class that the weights are of: the first of `architectures`.
    pub fn class(&self) -> Option<&str> {
        self.get("architectures")?.get(0)?.as_str()
    }

    /// The value of a key that is there and not `null`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is there at all, `null` or not.
    pub fn names(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// A whole number from 1 to 2^31.
    pub fn count(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        count(&self.map, key, key)
    }

    /// As [`Config::count`], where 0 says the same as no number.
    pub fn count_or_zero(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        if self.get(key).and_then(Value::as_u64) == Some(0) { Ok(None) } else { self.count(key) }
    }

    /// As [`Config::count`], under the first of several names that is there.
    pub fn count_of(&self, keys: &[&str]) -> Result<Option<u64>, ConfigError> {
        let named = keys.iter().find(|key| self.get(key).is_some());
        named.map_or(Ok(None), |key| self.count(key))
    }

    /// A number that must be there.
    pub fn required(&self, key: &str) -> Result<u64, ConfigError> {
        self.count(key)?.ok_or_else(|| error(key, ConfigReason::Missing))
    }

    /// A number within `range`.
    pub fn float(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, ConfigError> {
        float(&self.map, key, key, range)
    }

    /// A number within `range`, under the first of several names that is there.
    pub fn float_of(
        &self,
        keys: &[&str],
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, ConfigError> {
        let named = keys.iter().find(|key| self.get(key).is_some());
        named.map_or(Ok(None), |key| self.float(key, range))
    }

    /// A truth value.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let wrong = || error(key, ConfigReason::WrongType("true or false"));
        self.get(key).map(|value| value.as_bool().ok_or_else(wrong)).transpose()
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&str>, ConfigError> {
        self.get(key).map(|value| text(value, key)).transpose()
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<&str>>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let list = value.as_array().ok_or(error(key, ConfigReason::WrongType("a list")))?;
        list.iter().map(|value| text(value, key)).collect::<Result<_, _>>().map(Some)
    }

    /// Refuses a key unless its value is one of `supported`, or it is absent.
    pub fn expect(&self, key: &str, supported: &[Value]) -> Result<(), ConfigError> {
        match self.get(key) {
            Some(value) if !supported.contains(value) => Err(self.unsupported(key)),
            _ => Ok(()),
        }
    }

    /// That the value of a key asks for something that is not supported.
    pub fn unsupported(&self, key: &str) -> ConfigError {
        let value = self.get(key).map_or_else(String::new, Value::to_string);
        // Quotes would be escaped once more.
        let mut value = value.replace('"', "");
        if let Some((end, _)) = value.char_indices().nth(MAX_SHOWN) {
            value.truncate(end);
            value.push_str("...");
        }
        error(key, ConfigReason::Unsupported(value))
    }

    /// That the value of a key cannot be: `why`, which reads on from the key's name.
    pub fn out_of_range(&self, key: &str, why: impl fmt::Display) -> ConfigError {
        error(key, ConfigReason::OutOfRange(why.to_string()))
    }

    /// The position embedding of some layers. transformers 5 writes `rope_parameters`, for all
    /// layers or for each kind of them; version 4 `rope_theta`, `rope_scaling` (of the layers that see
    /// everything) and `rope_local_base_freq`. `theta`: the base where none is given.
    pub fn rope(&self, layers: Layers, theta: f64) -> Result<Rope, ConfigError> {
        let kind = match layers {
            Layers::Full => "full_attention",
            Layers::Sliding => "sliding_attention",
        };
        let empty = Map::new();
        let mut by_kind = false;
        let mut name = "rope_parameters";
        let mut map = self.object(name)?;
        if map.is_none() {
            name = "rope_scaling";
            map = self.object(name)?;
        }
        let mut map = map.unwrap_or(&empty);
        if map.contains_key("full_attention") || map.contains_key("sliding_attention") {
            by_kind = true;
            map = match map.get(kind).filter(|value| !value.is_null()) {
                None => &empty,
                Some(value) => {
                    let place = format!("{name}.{kind}");
                    value.as_object().ok_or(error(&place, ConfigReason::WrongType("an object")))?
                }
            };
        }
        const BASES: RangeInclusive<f64> = 1.0..=1e12;
        const GLOBAL: [&str; 3] = ["rope_theta", "rotary_emb_base", "global_rope_theta"];
        const LOCAL: [&str; 2] = ["rope_local_base_freq", "local_rope_theta"];
        if layers == Layers::Sliding && !by_kind {
            let base = self.float_of(&LOCAL, BASES)?;
            return Ok(Rope {
                theta: base.unwrap_or(theta),
                partial: None,
                scaling: Scaling::None,
            });
        }
        let place = |key: &str| format!("{name}.{key}");
        let outer = match layers {
            Layers::Full => self.float_of(&GLOBAL, BASES)?,
            Layers::Sliding => self.float_of(&LOCAL, BASES)?,
        };
        let given = float(map, "rope_theta", &place("rope_theta"), BASES)?;
        let partial = "partial_rotary_factor";
        let shares = 1e-3..=1.0;
        let share = float(map, partial, &place(partial), shares.clone())?;
        let mut share = share;
        for name in [partial, "rotary_pct", "rope_pct", "rope_percent"] {
            share = share.or(self.float(name, shares.clone())?);
        }
        Ok(Rope {
            theta: given.or(outer).unwrap_or(theta),
            partial: share,
            scaling: Scaling::read(map, name, self)?,
        })
    }

    /// An object within, as a configuration of its own; one that is absent says nothing.
    pub fn part(&self, key: &str) -> Result<Config, ConfigError> {
        Ok(Config { map: self.object(key)?.cloned().unwrap_or_default() })
    }

    fn object(&self, key: &str) -> Result<Option<&Map<String, Value>>, ConfigError> {
        let wrong = || error(key, ConfigReason::WrongType("an object"));
        self.get(key).map(|value| value.as_object().ok_or_else(wrong)).transpose()
    }
}

impl Scaling {
    fn read(map: &Map<String, Value>, name: &str, config: &Config) -> Result<Self, ConfigError> {
        let place = |key: &str| format!("{name}.{key}");
        let present = |key: &str| map.get(key).filter(|value| !value.is_null());
        let kind = present("rope_type").or(present("type"));
        let kind = kind.map(|kind| text(kind, &place("rope_type"))).transpose()?;
        let number = |key: &str| float(map, key, &place(key), 1e-6..=1e6);
        let required =
            |key: &str| number(key)?.ok_or_else(|| error(&place(key), ConfigReason::Missing));
        let context = "original_max_position_embeddings";
        let original = || {
            let given = count(map, context, &place(context))?.or(config.count(context)?);
            let given = given.or(config.count("max_position_embeddings")?);
            given.ok_or_else(|| error(&place(context), ConfigReason::Missing))
        };
        if kind.is_none() && present("factor").is_some() {
            return Err(error(&place("rope_type"), ConfigReason::Missing));
        }
        match kind.unwrap_or("default") {
            "default" | "none" => Ok(Scaling::None),
            "linear" => Ok(Scaling::Linear { factor: required("factor")? }),
            "proportional" => {
                Ok(Scaling::Proportional { factor: number("factor")?.unwrap_or(1.0) })
            }
            "llama3" => {
                let (low, high) = (required("low_freq_factor")?, required("high_freq_factor")?);
                if low >= high {
                    let why = "must be more than low_freq_factor";
                    return Err(config.out_of_range(&place("high_freq_factor"), why));
                }
                Ok(Scaling::Llama3 {
                    factor: required("factor")?,
                    low,
                    high,
                    original: original()?,
                })
            }
            "longrope" | "su" => {
                let list = |key: &str| floats(map, key, &place(key));
                Ok(Scaling::Long { short: list("short_factor")?, long: list("long_factor")? })
            }
            "yarn" => Ok(Scaling::Yarn {
                factor: required("factor")?,
                original: original()?,
                attention: number("attention_factor")?.or(magnitude(&number)?),
                beta_fast: number("beta_fast")?,
                beta_slow: number("beta_slow")?,
                truncate: match present("truncate") {
                    None => true,
                    Some(value) => value.as_bool().ok_or_else(|| {
                        error(&place("truncate"), ConfigReason::WrongType("true or false"))
                    })?,
                },
            }),
            other => {
                let other = format!("\"{}\"", Text::from(other));
                Err(error(&place("rope_type"), ConfigReason::Unsupported(other)))
            }
        }
    }
}

/// What two other numbers of YaRN say about its `attention_factor`.
fn magnitude(
    number: &impl Fn(&str) -> Result<Option<f64>, ConfigError>,
) -> Result<Option<f64>, ConfigError> {
    let (Some(factor), Some(one), Some(all)) =
        (number("factor")?, number("mscale")?, number("mscale_all_dim")?)
    else {
        return Ok(None);
    };
    let of = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * libm::log(factor) + 1.0 };
    Ok(Some(of(one) / of(all)))
}

fn error(key: &str, reason: ConfigReason) -> ConfigError {
    ConfigError { key: key.to_string(), reason }
}

fn text<'a>(value: &'a Value, place: &str) -> Result<&'a str, ConfigError> {
    value.as_str().ok_or_else(|| error(place, ConfigReason::WrongType("a text")))
}

fn count(map: &Map<String, Value>, key: &str, place: &str) -> Result<Option<u64>, ConfigError> {
    let Some(value) = map.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    if !value.is_number() {
        return Err(error(place, ConfigReason::WrongType("a whole number")));
    }
    match value.as_u64() {
        Some(n) if (1..=MAX_COUNT).contains(&n) => Ok(Some(n)),
        _ => Err(error(place, ConfigReason::OutOfRange(format!("cannot be {value}")))),
    }
}

fn float(
    map: &Map<String, Value>,
    key: &str,
    place: &str,
    range: RangeInclusive<f64>,
) -> Result<Option<f64>, ConfigError> {
    let Some(value) = map.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    let number = value.as_f64().ok_or_else(|| error(place, ConfigReason::WrongType("a number")))?;
    if !range.contains(&number) {
        return Err(error(place, ConfigReason::OutOfRange(format!("cannot be {value}"))));
    }
    Ok(Some(number))
}

fn floats(map: &Map<String, Value>, key: &str, place: &str) -> Result<Vec<f64>, ConfigError> {
    let list = map.get(key).ok_or_else(|| error(place, ConfigReason::Missing))?;
    let wrong = || error(place, ConfigReason::WrongType("a list of numbers above 0"));
    let list = list.as_array().ok_or_else(wrong)?;
    let number = |value: &Value| value.as_f64().filter(|x| x.is_finite() && *x > 0.0);
    list.iter().map(|value| number(value).ok_or_else(wrong)).collect()
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("config.json: ")?;
        let key = &self.key;
        match &self.reason {
            ConfigReason::Json(what) => write!(f, "{}", Text::from(&**what)),
            ConfigReason::Missing => write!(f, "{key} is missing"),
            ConfigReason::WrongType(wanted) => write!(f, "{key} must be {wanted}"),
            ConfigReason::OutOfRange(why) => write!(f, "{key} {}", Text::from(&**why)),
            ConfigReason::Unsupported(value) => {
                write!(f, "{key} {} is not supported", Text::from(&**value))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
