//! How weights are stored. **The list of encodings**: to add one, write its file, add its `mod`
//! line and its line in `quant_types!`.

macro_rules! quant_types {
    ($($variant:ident = $id:literal, $name:literal, $len:literal, $bytes:literal;)*) => {
        /// How the weights of a tensor are stored.
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum QuantType { $(#[allow(missing_docs)] $variant),* }
        impl QuantType {
            /// Every encoding.
            pub const ALL: &'static [QuantType] = &[$(QuantType::$variant),*];
            /// By ggml's type id, as GGUF files have it.
            pub const fn from_gguf_id(id: u32) -> Option<QuantType> {
                match id { $($id => Some(QuantType::$variant),)* _ => None }
            }
            /// ggml's type id.
            pub const fn gguf_id(self) -> u32 { match self { $(Self::$variant => $id),* } }
            /// The name in lower case, as in GGUF file names.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
            /// Weights in a block.
            pub const fn block_len(self) -> usize { match self { $(Self::$variant => $len),* } }
            /// Bytes of a block.
            pub const fn block_bytes(self) -> usize { match self { $(Self::$variant => $bytes),* } }
        }
    };
}
quant_types! {
    F32 = 0, "f32", 1, 4;
    F16 = 1, "f16", 1, 2;
    Q4_0 = 2, "q4_0", 32, 18;
    Q4_1 = 3, "q4_1", 32, 20;
    Q5_0 = 6, "q5_0", 32, 22;
    Q5_1 = 7, "q5_1", 32, 24;
    Q8_0 = 8, "q8_0", 32, 34;
    Q4_K = 12, "q4_k", 256, 144;
    Q5_K = 13, "q5_k", 256, 176;
    Q6_K = 14, "q6_k", 256, 210;
    BF16 = 30, "bf16", 1, 2;
}
