//! Which tensor has which encoding: one for all matrices, or a mix as llama.cpp makes it.

use mote_kernels::QuantType;

use crate::fitting::fitting;

/// The encodings of a model's tensors. Norms are f32 in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Types {
    /// One encoding for every matrix, the head's included (llama.cpp: `--pure`).
    One(QuantType),
    /// llama.cpp's `q4_k_s`: q5_k for the values of the first four layers and for the network's
    /// last matrix in the first eighth, q6_k for the head.
    Small,
    /// llama.cpp's `q4_k_m` and `q5_k_m`: q6_k for the head, and in about half of the layers for
    /// the values and for the network's last matrix; this one for the rest.
    Medium(QuantType),
}

/// What a tensor is, as far as its encoding depends on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Norm,
    /// And embedding: the two are one matrix.
    Head,
    AttentionValue,
    FeedForwardDown,
    Other,
}

/// The mixes by llama.cpp's names for them.
const MIXES: [(&str, Types); 3] = [
    ("q4_k_s", Types::Small),
    ("q4_k_m", Types::Medium(QuantType::Q4_K)),
    ("q5_k_m", Types::Medium(QuantType::Q5_K)),
];

impl Types {
    /// All of them, with their names.
    pub fn all() -> impl Iterator<Item = (&'static str, Types)> {
        QuantType::written().map(|kind| (kind.name(), Types::One(kind))).chain(MIXES)
    }

    /// As on the command line.
    pub fn name(self) -> &'static str {
        Self::all().find(|&(_, types)| types == self).map_or("", |(name, _)| name)
    }

    pub(super) fn of(self, role: Role, layer: u32, layers: u32, row: u32) -> QuantType {
        let wanted = match (self, role) {
            (_, Role::Norm) => return QuantType::F32,
            (Types::One(kind), _) => kind,
            (_, Role::Head) => QuantType::Q6_K,
            (Types::Medium(_), Role::AttentionValue | Role::FeedForwardDown)
                if has_more_bits(layer, layers) =>
            {
                QuantType::Q6_K
            }
            (Types::Medium(kind), _) => kind,
            (Types::Small, Role::AttentionValue) if layer < 4 => QuantType::Q5_K,
            (Types::Small, Role::FeedForwardDown) if layer < layers / 8 => QuantType::Q5_K,
            (Types::Small, _) => QuantType::Q4_K,
        };
        fitting(wanted, u64::from(row))
    }
}

/// The first eighth of the layers, the last, and every third between.
fn has_more_bits(layer: u32, layers: u32) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_name_of_its_own() {
        for (name, types) in Types::all() {
            assert_eq!(types.name(), name);
            assert_eq!(Types::all().filter(|(other, _)| *other == name).count(), 1);
        }
    }

    /// The layers that llama.cpp gives more bits in a model of 16.
    #[test]
    fn about_half_of_the_layers_have_more_bits() {
        let layers: Vec<_> = (0..16).filter(|&layer| has_more_bits(layer, 16)).collect();
        assert_eq!(layers, [0, 1, 4, 7, 10, 13, 14, 15]);
    }
    /// The width of SmolLM2 135M.
    #[test]
    fn rows_that_are_not_whole_blocks_get_shorter_ones() {
        let of = |types: Types, role| types.of(role, 15, 30, 576);
        for (name, types) in Types::all() {
            assert!(of(types, Role::Other).row_bytes(576).is_some(), "{name}");
        }
        assert_eq!(of(Types::Medium(QuantType::Q4_K), Role::Other), QuantType::Q5_0);
        assert_eq!(of(Types::Medium(QuantType::Q5_K), Role::Other), QuantType::Q5_1);
        assert_eq!(of(Types::Small, Role::Head), QuantType::Q8_0);
        assert_eq!(of(Types::One(QuantType::Q4_0), Role::Head), QuantType::Q4_0);
    }
}
