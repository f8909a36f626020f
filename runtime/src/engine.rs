//! The steps of a forward pass, each one phase of the executor. None knows a model.

use mote_kernels::{Gate, Kernels, Matrix, PANEL_ROWS, Rows};

use crate::config::{Config, NormKind, QkNorm};
use crate::executor::{ActivationParts, Chunks, Crew, Outputs, Planes, for_each, for_each_in_runs};

/// Tokens that one item of an element-wise phase takes.
const TOKEN_CHUNK: usize = 16;

/// Least bytes of weights that one item reads when a phase is matrices times few tokens: about a
/// microsecond of work.
const ITEM_BYTES: usize = 24 << 10;

/// Most items of such a phase for each thread. Threads take them in runs (see `for_each_in_runs`),
/// because kernels ask for weights 36 KiB ahead, which should be the thread's own. (Few and long
/// items serve that, too, but leave one thread waiting for the other.)
const ITEMS_PER_THREAD: usize = 64;

/// Rows of an item are a multiple of this, so that kernels may take them together.
const ROW_GROUP: usize = 8;

/// Most tokens for which weights are read raw rather than unpacked.
const FEW_TOKENS: usize = 8;

/// What runs a phase.
pub(crate) struct Engine<'e> {
    pub kernels: &'static Kernels,
    pub crew: Crew<'e>,
    pub scratch: &'e mut [f32],
    /// What norms of the residual stream add to the variance: each layer has its own.
    pub norm_epsilon: f32,
}

/// A norm's weights.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub kind: NormKind,
    pub weight: &'a [f32],
    /// Of [`NormKind::Layer`], else empty.
    pub bias: &'a [f32],
}

impl Norm<'_> {
    pub fn apply(&self, kernels: &Kernels, epsilon: f32, x: &[f32], out: &mut [f32]) {
        match self.kind {
            NormKind::Rms => kernels.rms_norm(x, self.weight, epsilon, out),
            NormKind::Layer | NormKind::LayerUnbiased => {
                kernels.layer_norm(x, self.weight, self.bias, epsilon, out)
            }
        }
    }
}

/// Whether any of the matrices needs quantised rows.
pub(crate) fn quantized(matrices: &[Matrix<'_>]) -> bool {
    matrices.iter().any(|matrix| matrix.kind().integer().is_some())
}

/// What makes a row: its number, the row, and a worker's scratch.
pub(crate) type RowMaker<'a> = &'a (dyn Fn(usize, &mut [f32], &mut [f32]) + Sync);

impl Engine<'_> {
    /// `normed = norm(x)`, and its quantised form in `planes` (rows of k values).
    pub fn normalize<'a>(
        &mut self,
        x: &mut [f32],
        norm: Norm<'_>,
        normed: &'a mut [f32],
        planes: Option<Planes<'a>>,
    ) -> Rows<'a> {
        let (k, kernels, epsilon) = (norm.weight.len(), self.kernels, self.norm_epsilon);
        let norm = |x: &mut [f32], normed: &mut [f32]| norm.apply(kernels, epsilon, x, normed);
        self.quantize_with(k, Some(x), normed, planes, norm)
    }

    /// The same by RMSNorm with an epsilon of its own.
    pub fn normalize_with<'a>(
        &mut self,
        x: &mut [f32],
        (weight, epsilon): (&[f32], f32),
        normed: &'a mut [f32],
        planes: Option<Planes<'a>>,
    ) -> Rows<'a> {
        let kernels = self.kernels;
        let norm = |x: &mut [f32], normed: &mut [f32]| kernels.rms_norm(x, weight, epsilon, normed);
        self.quantize_with(weight.len(), Some(x), normed, planes, norm)
    }

    /// The quantised form of rows that are already there.
    pub fn quantize<'a>(
        &mut self,
        k: usize,
        rows: &'a mut [f32],
        planes: Option<Planes<'a>>,
    ) -> Rows<'a> {
        match planes {
            None => Rows::new((rows.len() / k, k), Some(rows), None),
            planes => self.quantize_with(k, None, rows, planes, |_, _| ()),
        }
    }

    /// `gate = activation(gate + bias) * (up + bias)`, and its quantised form.
    pub fn gate<'a>(
        &mut self,
        kind: Gate,
        gate: &'a mut [f32],
        up: &mut [f32],
        (gate_bias, up_bias): (Option<&[f32]>, Option<&[f32]>),
        (n_ff, planes): (usize, Option<Planes<'a>>),
    ) -> Rows<'a> {
        let kernels = self.kernels;
        self.quantize_with(n_ff, Some(up), gate, planes, |up, gate| {
            add(gate, gate_bias);
            add(up, up_bias);
            kernels.gate(kind, gate, up);
        })
    }

    /// `up = activation(up + bias)`, where there is no gate, and its quantised form.
    pub fn activate<'a>(
        &mut self,
        kind: Gate,
        up: &'a mut [f32],
        bias: Option<&[f32]>,
        (n_ff, planes): (usize, Option<Planes<'a>>),
    ) -> Rows<'a> {
        let kernels = self.kernels;
        self.quantize_with(n_ff, None, up, planes, |_, up| {
            add(up, bias);
            kernels.activate(kind, up);
        })
    }

    /// Token by token: `make(other row, row)`, then the row quantised.
    fn quantize_with<'a>(
        &mut self,
        k: usize,
        other: Option<&mut [f32]>,
        rows: &'a mut [f32],
        planes: Option<Planes<'a>>,
        make: impl Fn(&mut [f32], &mut [f32]) + Sync,
    ) -> Rows<'a> {
        let (t, kernels, chunk) = (rows.len() / k, self.kernels, TOKEN_CHUNK * k);
        let Some(mut planes) = planes else {
            let parts = (other.map(|other| Chunks::new(other, chunk)), Chunks::new(rows, chunk));
            for_each(self.crew, self.scratch, parts, |_, (mut other, rows), _| {
                for (token, row) in rows.chunks_exact_mut(k).enumerate() {
                    make(row_of(&mut other, token, k), row);
                }
            });
            return Rows::new((t, k), Some(rows), None);
        };
        let parts = (
            other.map(|other| Chunks::new(other, chunk)),
            (
                Chunks::new(rows, chunk),
                ActivationParts::new((t, k), TOKEN_CHUNK, planes.reborrow()),
            ),
        );
        for_each(self.crew, self.scratch, parts, |_, (mut other, (rows, mut out)), _| {
            for (token, row) in rows.chunks_exact_mut(k).enumerate() {
                make(row_of(&mut other, token, k), row);
                kernels.quantize(row, &mut out, token);
            }
        });
        Rows::new((t, k), Some(rows), Some(planes.freeze((t, k))))
    }

    /// `outputs[i] = weights[i] × input`, (t, rows) each, in one phase.
    pub fn project<const N: usize>(
        &mut self,
        weights: [Matrix<'_>; N],
        input: &Rows<'_>,
        outputs: [&mut [f32]; N],
    ) {
        let t = input.tokens();
        let bytes: usize = weights.iter().map(|w| w.data().len()).sum();
        let item = ITEM_BYTES.max(bytes / (self.crew.threads() * ITEMS_PER_THREAD));
        let groups = weights.map(|w| match t {
            ..=FEW_TOKENS => (item / w.row_bytes().max(1)).max(1).next_multiple_of(ROW_GROUP),
            _ => PANEL_ROWS,
        });
        let kernels = self.kernels;
        let parts = Outputs::new(t, t, outputs, groups);
        for_each_in_runs(self.crew, self.scratch, parts, |_, mut out, scratch| {
            let rows = weights[out.which].part(out.row, out.tile.rows());
            kernels.matmul(&rows, input, &mut out.tile, scratch);
        });
    }

    /// `x += scale * (branch + bias)`, the branch normed first if the model has a norm for it, and then
    /// the sum if it has one for that.
    pub fn add_branch(
        &mut self,
        n_embd: usize,
        x: &mut [f32],
        branch: &mut [f32],
        bias: Option<&[f32]>,
        (norm, sum_norm): (Option<Norm<'_>>, Option<Norm<'_>>),
        scale: f32,
    ) {
        let (kernels, epsilon, chunk) = (self.kernels, self.norm_epsilon, TOKEN_CHUNK * n_embd);
        let parts = (Chunks::new(x, chunk), Chunks::new(branch, chunk));
        for_each(self.crew, self.scratch, parts, |_, (x, branch), scratch| {
            for (x, branch) in x.chunks_exact_mut(n_embd).zip(branch.chunks_exact_mut(n_embd)) {
                add(branch, bias);
                let branch = match norm {
                    None => branch,
                    Some(norm) => {
                        norm.apply(kernels, epsilon, branch, &mut scratch[..n_embd]);
                        &mut scratch[..n_embd]
                    }
                };
                if scale != 1.0 {
                    branch.iter_mut().for_each(|v| *v *= scale);
                }
                add(x, Some(branch));
                if let Some(norm) = sum_norm {
                    let spare = &mut scratch[..n_embd];
                    spare.copy_from_slice(x);
                    norm.apply(kernels, epsilon, spare, x);
                }
            }
        });
    }

    /// The rows of some tokens, one after the other.
    pub fn gather(&mut self, k: usize, rows: &[f32], members: &[u32], gathered: &mut [f32]) {
        for_each(self.crew, self.scratch, Chunks::new(gathered, k), |i, row, _| {
            row.copy_from_slice(&rows[members[i] as usize * k..][..k]);
        });
    }

    /// `rows[member] += weight(member) * (row + bias)`, for the gathered row of each member.
    pub fn scatter(
        &mut self,
        k: usize,
        gathered: &[f32],
        (members, bias): (&[u32], Option<&[f32]>),
        weight: impl Fn(usize) -> f32 + Sync,
        rows: &mut [f32],
    ) {
        for_each(self.crew, self.scratch, Chunks::new(rows, k), |token, row, spare| {
            let Ok(i) = members.binary_search(&(token as u32)) else { return };
            let (weight, spare) = (weight(token), &mut spare[..k]);
            spare.copy_from_slice(&gathered[i * k..][..k]);
            add(spare, bias);
            row.iter_mut().zip(spare).for_each(|(x, y)| *x += weight * *y);
        });
    }

    /// `rows = softcap(scale * rows)`, each of `k` values; a cap of 0 is none.
    pub fn scale_and_cap(&mut self, k: usize, rows: &mut [f32], scale: f32, cap: f32) {
        let kernels = self.kernels;
        for_each(self.crew, self.scratch, Chunks::new(rows, k), |_, row, _| {
            row.iter_mut().for_each(|x| *x *= scale);
            if cap > 0.0 {
                kernels.softcap(cap, row);
            }
        });
    }

    /// Of pieces of `n` floats every `step`-th, from the first one on.
    pub fn every(&mut self, step: usize, n: usize, pieces: &[f32], out: &mut [f32]) {
        for_each(self.crew, self.scratch, Chunks::new(out, n), |i, out, _| {
            out.copy_from_slice(&pieces[step * i * n..][..n]);
        });
    }

    /// `x *= sigmoid` of the second, fourth and so on of pieces of `n` floats.
    pub fn gate_every_other(&mut self, n: usize, pieces: &[f32], x: &mut [f32]) {
        let kernels = self.kernels;
        for_each(self.crew, self.scratch, Chunks::new(x, n), |i, x, spare| {
            let gate = &mut spare[..n];
            gate.copy_from_slice(&pieces[(2 * i + 1) * n..][..n]);
            kernels.gate(Gate::Sigmoid, gate, x);
            x.copy_from_slice(gate);
        });
    }

    /// Rows of `n` values, each on its own.
    pub fn each_row(&mut self, n: usize, rows: &mut [f32], make: RowMaker<'_>) {
        for_each(self.crew, self.scratch, Chunks::new(rows, n), make);
    }

    /// `rows += bias`, each of them.
    pub fn add_bias(&mut self, rows: &mut [f32], bias: &[f32]) {
        let parts = Chunks::new(rows, bias.len());
        for_each(self.crew, self.scratch, parts, |_, row, _| add(row, Some(bias)));
    }
}

/// The tokens (rows of `routes`, n_experts each) that go through an expert, in their order.
pub(crate) fn members<'a>(
    routes: &[f32],
    (expert, n_experts): (usize, usize),
    members: &'a mut [u32],
) -> &'a [u32] {
    let mut count = 0;
    for (token, row) in routes.chunks_exact(n_experts).enumerate() {
        if row[expert] != 0.0 {
            members[count] = token as u32;
            count += 1;
        }
    }
    &members[..count]
}

fn row_of<'a>(rows: &'a mut Option<&mut [f32]>, token: usize, k: usize) -> &'a mut [f32] {
    rows.as_mut().map_or(&mut [], |rows| &mut rows[token * k..(token + 1) * k])
}

/// `x += y`, if there is a y.
pub(crate) fn add(x: &mut [f32], y: Option<&[f32]>) {
    for (x, y) in x.iter_mut().zip(y.unwrap_or(&[])) {
        *x += y;
    }
}

/// Each head's values normed, without weights. `spare` has room for two heads.
pub(crate) fn norm_values(
    kernels: &Kernels,
    epsilon: f32,
    (head_dim, values): (usize, &mut [f32]),
    spare: &mut [f32],
) {
    let (weight, spare) = spare.split_at_mut(head_dim);
    weight.fill(1.0);
    for head in values.chunks_exact_mut(head_dim) {
        let spare = &mut spare[..head_dim];
        spare.copy_from_slice(head);
        kernels.rms_norm(spare, weight, epsilon, head);
    }
}

/// Keeps values within `limit` of zero; 0: anywhere.
pub(crate) fn clamp(x: &mut [f32], limit: f32) {
    if limit > 0.0 {
        x.iter_mut().for_each(|x| *x = x.clamp(-limit, limit));
    }
}

/// Makes queries or keys of one token ready: bias, norm, rotation.
pub(crate) struct Heads<'a> {
    pub kernels: &'static Kernels,
    pub config: &'a Config,
    pub head_dim: usize,
    pub bias: Option<&'a [f32]>,
    pub norm: Option<&'a [f32]>,
}

impl Heads<'_> {
    /// In place. `spare` has room for all heads.
    pub fn prepare(&self, heads: &mut [f32], cos: &[f32], sin: &[f32], spare: &mut [f32]) {
        let (c, kernels) = (self.config, self.kernels);
        add(heads, self.bias);
        clamp(heads, c.qkv_clamp);
        if let Some(weight) = self.norm {
            let spare = &mut spare[..heads.len()];
            spare.copy_from_slice(heads);
            let kind = if c.qk_norm == QkNorm::EachHead { c.norm } else { NormKind::Rms };
            let width = if c.qk_norm == QkNorm::Whole { heads.len() } else { self.head_dim };
            // Weights for one head serve all of them.
            let weights = weight.chunks_exact(width).cycle();
            let parts = spare.chunks_exact(width).zip(heads.chunks_exact_mut(width));
            for ((from, to), weight) in parts.zip(weights) {
                let norm = Norm { kind, weight, bias: &[] };
                norm.apply(kernels, c.norm_epsilon, from, to);
            }
        }
        if !cos.is_empty() {
            for head in heads.chunks_exact_mut(self.head_dim) {
                kernels.rope(c.rope.layout, head, cos, sin);
            }
        }
    }
}
