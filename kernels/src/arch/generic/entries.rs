//! The table's float entries of one target.

/// Defines, for a type that is [`super::Lanes`] and the features it needs, one entry for each float
/// operation and `with_floats`, which puts them into a table. A macro, because a `target_feature`
/// attribute cannot depend on a type.
macro_rules! float_entries {
    ($lanes:ty, $features:literal) => {
        /// The table with every float operation on these lanes.
        pub(super) const fn with_floats(table: crate::Kernels) -> crate::Kernels {
            let table = crate::Kernels {
                gemm_float,
                rms_norm,
                layer_norm,
                exp_sum,
                rope,
                gate,
                activate,
                narrow,
                attend,
                attend_chunk,
                merge_chunks,
                softcap,
                peak_float,
                is_finite,
                first_above,
                ..table
            };
            use crate::QuantType::{BF16, F16, F32};
            table
                .with_gemv(F32, gemv_f32)
                .with_gemv(F16, gemv_f16)
                .with_gemv(BF16, gemv_bf16)
                .with_unpack(F32, unpack_f32)
                .with_unpack(F16, unpack_f16)
                .with_unpack(BF16, unpack_bf16)
        }

        $crate::arch::generic::float_entries! { @entries $lanes, $features;
            gemv_f32 = float::gemv::<$lanes, generic::F32>(
                w: &[u8], x: &Rows<'_>, out: &mut Tile<'_>
            );
            gemv_f16 = float::gemv::<$lanes, generic::F16>(
                w: &[u8], x: &Rows<'_>, out: &mut Tile<'_>
            );
            gemv_bf16 = float::gemv::<$lanes, generic::BF16>(
                w: &[u8], x: &Rows<'_>, out: &mut Tile<'_>
            );
            unpack_f32 = float::unpack::<$lanes, generic::F32>(w: &[u8], panel: &mut Panel<'_>);
            unpack_f16 = float::unpack::<$lanes, generic::F16>(w: &[u8], panel: &mut Panel<'_>);
            unpack_bf16 = float::unpack::<$lanes, generic::BF16>(w: &[u8], panel: &mut Panel<'_>);
            gemm_float = float::gemm::<$lanes>(panel: &Panel<'_>, x: &[f32], out: &mut Tile<'_>);
            rms_norm = norm::rms_norm::<$lanes>(
                x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]
            );
            layer_norm = norm::layer_norm::<$lanes>(
                x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]
            );
            narrow = norm::narrow::<$lanes>(x: &[f32], out: &mut [u16]);
            rope = rope::rope::<$lanes>(
                layout: RopeLayout, head: &mut [f32], cos: &[f32], sin: &[f32]
            );
            gate = exp::gate::<$lanes>(kind: Gate, gate: &mut [f32], up: &[f32]);
            activate = exp::activate::<$lanes>(kind: Gate, x: &mut [f32]);
            softcap = exp::soften::<$lanes>(cap: f32, x: &mut [f32]);
            attend_work = attend::attend::<$lanes>(
                job: &Attend<'_>, work: generic::attend::Work<'_, '_>, scratch: &mut [f32]
            );
            merge_chunks = attend::merge_chunks::<$lanes>(
                parts: &[f32], stride: usize, sink: Option<f32>, out: &mut [f32]
            );
        }

        #[target_feature(enable = $features)]
        unsafe fn attend(job: &Attend<'_>, out: &mut Tile<'_>, scratch: &mut [f32]) {
            // SAFETY: the caller's promises.
            unsafe { attend_work(job, generic::attend::Work::Whole(out), scratch) }
        }

        #[target_feature(enable = $features)]
        unsafe fn attend_chunk(
            job: &Attend<'_>, chunk: usize, parts: &mut [f32], scratch: &mut [f32]
        ) {
            // SAFETY: the caller's promises.
            unsafe { attend_work(job, generic::attend::Work::Chunk(chunk, parts), scratch) }
        }

        #[target_feature(enable = $features)]
        fn exp_sum(x: &mut [f32]) -> f32 {
            // SAFETY: the features are enabled here.
            unsafe { generic::norm::exp_sum::<$lanes>(x) }
        }

        #[target_feature(enable = $features)]
        fn is_finite(x: &[f32]) -> bool {
            // SAFETY: the features are enabled here.
            unsafe { generic::top::is_finite::<$lanes>(x) }
        }

        #[target_feature(enable = $features)]
        fn first_above(x: &[f32], limit: f32) -> usize {
            // SAFETY: the features are enabled here.
            unsafe { generic::top::first_above::<$lanes>(x, limit) }
        }

        #[target_feature(enable = $features)]
        fn peak_float(rounds: usize) -> usize {
            // SAFETY: the features are enabled here.
            unsafe { generic::peak::peak_float::<$lanes>(rounds) }
        }
    };
    (@entries $lanes:ty, $features:literal; $(
        $name:ident = $module:ident::$function:ident::<$($parameter:ty),*>(
            $($argument:ident: $type:ty),*
        );
    )*) => {
        $(
            #[target_feature(enable = $features)]
            unsafe fn $name($($argument: $type),*) {
                // SAFETY: the features are enabled here; the rest the caller promises.
                unsafe { generic::$module::$function::<$($parameter),*>($($argument),*) }
            }
        )*
    };
}

pub(crate) use float_entries;
