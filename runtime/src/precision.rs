//! How many bits an activation keeps, by what its token is.

use mote_kernels::Precision as Bits;

/// What a token is: part of what was given, or of what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was given.
    Prompt,
    /// The model, or a draft of it, proposed it.
    Generated,
}

/// Bits of an activation that meets integer weights: a declared choice of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 8 for every token.
    Bits8,
    /// 16 for every token.
    Bits16,
    /// 8 for tokens of the prompt, of which many go through the layers together and the processor is
    /// the limit; 16 for generated ones, which wait for memory.
    Mixed,
}

impl Precision {
    /// Bits of the activations of one token, in every layer and in the head.
    pub fn of(self, origin: Origin) -> Bits {
        match (self, origin) {
            (Precision::Bits8, _) | (Precision::Mixed, Origin::Prompt) => Bits::Bits8,
            (Precision::Bits16, _) | (Precision::Mixed, Origin::Generated) => Bits::Bits16,
        }
    }
}

/// Bytes that hold one bit for each position.
pub(crate) fn origin_bytes(n_ctx: usize) -> usize {
    n_ctx.div_ceil(8)
}

/// The origin of every position of a context: a set bit is a generated token. With it a session can
/// be fed again, and come to the same bits.
pub(crate) struct Origins<'s>(pub &'s mut [u8]);

impl Origins<'_> {
    /// Of one position.
    pub fn get(&self, position: usize) -> Origin {
        match self.0.get(position / 8).map_or(0, |byte| byte >> (position % 8) & 1) {
            0 => Origin::Prompt,
            _ => Origin::Generated,
        }
    }

    /// Positions `first..first + n` get one origin.
    pub fn set(&mut self, first: usize, n: usize, origin: Origin) {
        for position in first..first + n {
            let Some(byte) = self.0.get_mut(position / 8) else { return };
            let bit = 1 << (position % 8);
            match origin {
                Origin::Prompt => *byte &= !bit,
                Origin::Generated => *byte |= bit,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_position_has_its_own_bit() {
        let mut bytes = [0xa5; 3];
        let mut origins = Origins(&mut bytes);
        origins.set(0, 24, Origin::Prompt);
        origins.set(7, 10, Origin::Generated);
        origins.set(9, 1, Origin::Prompt);
        for position in 0..24 {
            let generated = (7..17).contains(&position) && position != 9;
            assert_eq!(origins.get(position) == Origin::Generated, generated, "{position}");
        }
    }
}
