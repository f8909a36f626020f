#!/usr/bin/env python3
"""Trains the embedded model: a byte-level BPE vocabulary and a small Llama.

usage: train.py TEXT OUTPUT [--until HH:MM | --minutes N] [--threads N]

TEXT is prepare.py's output. OUTPUT gets two Hugging Face folders: `mote-tiny-master` (the weights as
trained) and `mote-tiny` (each block of 32 weights on the grid of Q4_0, so that quantising them loses nothing).
The learning rate follows the clock and not the steps: a busy machine trains less, not longer.
"""

import argparse
import contextlib
import datetime
import functools
import json
import math
import os
import time

import numpy
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 2048
END = "<|endoftext|>"
WIDTH, LAYERS, HEADS, KV_HEADS, HEAD, HIDDEN = 256, 5, 4, 2, 64, 480
WINDOW, BATCH = 256, 8
EPSILON, THETA = 1e-5, 10000.0
# The share of each source in what is trained on: prose before plays, since prompts are prose.
MIX = {"Austen": 0.50, "Melville": 0.12, "Carroll": 0.08, "King James": 0.15, "Shakespeare": 0.15}
# The same for the second half of the time: a small model that has seen all of it writes better where it
# ends on what it is asked for.
LAST_MIX = {"Austen": 0.62, "Melville": 0.12, "Carroll": 0.12, "King James": 0.09, "Shakespeare": 0.05}
# One window in four begins with END where a paragraph begins, as a prompt does. Where documents begin
# would be too few places: a model of this size recites them.
FROM_START = 0.25
# The last share of the time trains with weights rounded to Q4_0.
ROUNDED = 0.2
# The first share of the time trains the first layers alone; the others start as the identity.
SHALLOW, SHALLOW_LAYERS = 0.35, 2


# --- Vocabulary and data ---------------------------------------------------------------------


def documents(text):
    """Kind -> documents of train.txt."""
    kinds = {}
    with open(os.path.join(text, "train.txt"), encoding="utf-8") as file:
        for document in file.read().split("\f"):
            kind, body = document.split("\t", 1)
            kinds.setdefault(kind, []).append(body)
    return kinds


def vocabulary(kinds):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    # Longer sources are cut, so that the vocabulary follows the mix.
    bodies = []
    for kind, share in MIX.items():
        joined = "\n\n".join(kinds[kind])
        bodies.append(joined[: int(share * 9e6)])
    tokenizer.train_from_iterator(bodies, trainer)
    return tokenizer


class Windows:
    """Random windows of the mix."""

    def __init__(self, kinds, tokenizer, seed):
        self.random = numpy.random.default_rng(seed)
        self.streams, self.starts = [], []
        newline = tokenizer.token_to_id("Ċ")
        for kind in MIX:
            ids = []
            for encoding in tokenizer.encode_batch(kinds[kind]):
                ids += [0] + encoding.ids
            ids += [0] * (WINDOW + 1)
            stream = numpy.array(ids, dtype=numpy.int64)
            ends = (stream == newline)[:-1]
            starts = numpy.flatnonzero(ends[1:] & ends[:-1]) + 2
            self.streams.append(stream)
            self.starts.append(starts[starts < len(stream) - WINDOW - 1])
        self.tokens = sum(len(stream) for stream in self.streams)

    def batch(self, mix):
        rows = []
        for kind in self.random.choice(len(self.streams), BATCH, p=list(mix.values())):
            stream = self.streams[kind]
            if self.random.random() < FROM_START:
                at = self.starts[kind][self.random.integers(len(self.starts[kind]))]
                row = numpy.concatenate(([0], stream[at : at + WINDOW]))
            else:
                at = self.random.integers(len(stream) - WINDOW - 1)
                row = stream[at : at + WINDOW + 1]
            rows.append(row)
        rows = torch.from_numpy(numpy.stack(rows))
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


# --- Model -----------------------------------------------------------------------------------


def q4_0(weight):
    """The weight rounded to blocks of 32 as Q4_0 stores them: a half-precision scale so that the
    largest magnitude becomes -8, and 4-bit steps."""
    blocks = weight.reshape(-1, 32)
    at = blocks.abs().argmax(dim=1, keepdim=True)
    scale = (blocks.gather(1, at) / -8.0).half().float()
    inverse = torch.where(scale == 0, torch.zeros_like(scale), 1.0 / scale)
    steps = (blocks * inverse + 8.5).floor().clamp(0, 15) - 8.0
    return (steps * scale).reshape(weight.shape)


def rotate(x, cosine, sine):
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-second, first), dim=-1) * sine


SHAPES = {
    "self_attn.q_proj": (HEADS * HEAD, WIDTH),
    "self_attn.k_proj": (KV_HEADS * HEAD, WIDTH),
    "self_attn.v_proj": (KV_HEADS * HEAD, WIDTH),
    "self_attn.o_proj": (WIDTH, HEADS * HEAD),
    "mlp.gate_proj": (HIDDEN, WIDTH),
    "mlp.up_proj": (HIDDEN, WIDTH),
    "mlp.down_proj": (WIDTH, HIDDEN),
}


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Parameter(torch.randn(VOCABULARY, WIDTH) * 0.02)
        # One tensor a kind of matrix, the layers stacked: Muon works on all of them at once.
        self.matrices = torch.nn.ParameterDict()
        for name, (rows, columns) in SHAPES.items():
            writes = name.endswith(("o_proj", "down_proj"))
            start = torch.zeros if writes else torch.randn
            weight = start(LAYERS, rows, columns) * (0.6 / math.sqrt(columns))
            self.matrices[name.replace(".", "/")] = torch.nn.Parameter(weight)
        self.norms = torch.nn.Parameter(torch.ones(2 * LAYERS + 1, WIDTH))
        angles = torch.outer(
            torch.arange(WINDOW).float(), THETA ** (-torch.arange(0, HEAD, 2).float() / HEAD)
        )
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cosine", angles.cos())
        self.register_buffer("sine", angles.sin())

    def norm(self, x, index):
        return F.rms_norm(x, (WIDTH,), self.norms[index], EPSILON)

    def forward(self, ids, targets, layers):
        """The mean loss in nats a token, of the model's first layers."""
        batch, length = ids.shape
        weights = {name: weight.unbind(0) for name, weight in self.matrices.items()}
        x = F.embedding(ids, self.embedding)
        cosine, sine = self.cosine[:length], self.sine[:length]
        for layer in range(layers):
            w = lambda name: weights[name][layer]
            h = self.norm(x, 2 * layer)
            split = lambda y: y.view(batch, length, -1, HEAD).transpose(1, 2)
            q = rotate(split(F.linear(h, w("self_attn/q_proj"))), cosine, sine)
            k = rotate(split(F.linear(h, w("self_attn/k_proj"))), cosine, sine)
            v = split(F.linear(h, w("self_attn/v_proj")))
            q = q.to(v.dtype)
            k = k.to(v.dtype).repeat_interleave(HEADS // KV_HEADS, dim=1)
            v = v.repeat_interleave(HEADS // KV_HEADS, dim=1)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + F.linear(y.transpose(1, 2).reshape(batch, length, -1), w("self_attn/o_proj"))
            h = self.norm(x, 2 * layer + 1)
            gate = F.silu(F.linear(h, w("mlp/gate_proj"))) * F.linear(h, w("mlp/up_proj"))
            x = x + F.linear(gate, w("mlp/down_proj"))
        logits = F.linear(self.norm(x, 2 * LAYERS), self.embedding).float().flatten(0, 1)
        return F.cross_entropy(logits, targets.flatten())

    @contextlib.contextmanager
    def as_q4_0(self, wanted=True):
        """Within: the weights rounded, so that losses and gradients are those of the rounded model
        (straight through: the gradients then move the weights as they were)."""
        kept = [self.embedding, *self.matrices.values()] if wanted else []
        masters = [parameter.detach().clone() for parameter in kept]
        for parameter, master in zip(kept, masters):
            parameter.data.copy_(q4_0(master))
        yield
        for parameter, master in zip(kept, masters):
            parameter.data.copy_(master)


# --- Optimiser -------------------------------------------------------------------------------


def orthogonal(matrices, steps=4):
    """Newton-Schulz: each matrix of the stack with its singular values near one."""
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x.bfloat16()
    for _ in range(steps):
        square = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    if tall:
        x = x.transpose(1, 2)
    return x.float()


class Muon:
    def __init__(self, parameters, momentum=0.95, decay=0.01):
        self.parameters, self.momentum, self.decay = parameters, momentum, decay
        self.buffers = [torch.zeros_like(parameter) for parameter in parameters]

    @torch.no_grad()
    def step(self, rate):
        for parameter, buffer in zip(self.parameters, self.buffers):
            buffer.lerp_(parameter.grad, 1 - self.momentum)
            update = parameter.grad.lerp(buffer, self.momentum)
            update = orthogonal(update) * max(1.0, parameter.shape[1] / parameter.shape[2]) ** 0.5
            parameter.mul_(1 - rate * self.decay).add_(update, alpha=-rate)
            parameter.grad = None


def schedule(progress):
    """The factor of the learning rate: a short warm-up, then straight down to nothing."""
    return min(1.0, progress / 0.02) * min(1.0, (1.0 - progress) / 0.85)


# --- Saving ----------------------------------------------------------------------------------


def save(model, tokenizer, folder, wrap):
    os.makedirs(folder, exist_ok=True)
    tensors = {"model.embed_tokens.weight": wrap(model.embedding.detach())}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name in SHAPES:
            matrix = model.matrices[name.replace(".", "/")].detach()[layer]
            tensors[f"{prefix}{name}.weight"] = wrap(matrix).contiguous().clone()
        norms = model.norms.detach()
        tensors[f"{prefix}input_layernorm.weight"] = norms[2 * layer].clone()
        tensors[f"{prefix}post_attention_layernorm.weight"] = norms[2 * layer + 1].clone()
    tensors["model.norm.weight"] = model.norms.detach()[2 * LAYERS].clone()
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY,
        "hidden_size": WIDTH, "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD,
        "hidden_act": "silu", "max_position_embeddings": WINDOW, "rms_norm_eps": EPSILON,
        "rope_theta": THETA, "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 0,
        "attention_bias": False, "mlp_bias": False, "torch_dtype": "float32",
        "transformers_version": "4.57.0",
    }  # fmt: skip
    token = {"bos_token": END, "eos_token": END, "add_bos_token": True, "add_eos_token": False,
             "tokenizer_class": "GPT2Tokenizer", "clean_up_tokenization_spaces": False,
             "model_max_length": WINDOW}  # fmt: skip
    for name, value in ("config.json", config), ("tokenizer_config.json", token):
        with open(os.path.join(folder, name), "w") as file:
            json.dump(value, file, indent=2)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))


def load(model, folder):
    """What save() wrote."""
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    model.embedding.data.copy_(tensors["model.embed_tokens.weight"])
    model.norms.data[2 * LAYERS].copy_(tensors["model.norm.weight"])
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name in SHAPES:
            matrix = model.matrices[name.replace(".", "/")].data[layer]
            matrix.copy_(tensors[f"{prefix}{name}.weight"])
        model.norms.data[2 * layer].copy_(tensors[prefix + "input_layernorm.weight"])
        model.norms.data[2 * layer + 1].copy_(tensors[prefix + "post_attention_layernorm.weight"])


def bits_per_byte(model, held_out, quantised, limit=None):
    """Bits per byte over windows that do not overlap; `held_out` is (windows, tokens a byte)."""
    windows, size = held_out
    losses = []
    with torch.no_grad(), model.as_q4_0(quantised):
        for at in range(0, min(len(windows), limit or len(windows)) // BATCH * BATCH, BATCH):
            rows = windows[at : at + BATCH]
            losses.append(model(rows[:, :-1], rows[:, 1:], LAYERS).item())
    return sum(losses) / len(losses) / math.log(2) * size


def held_out(text, tokenizer):
    """The windows of held-out.txt, shuffled, and tokens per byte."""
    with open(os.path.join(text, "held-out.txt"), encoding="utf-8") as file:
        body = file.read()
    ids = [0] + tokenizer.encode(body).ids
    size = len(ids) / len(body.encode())
    count = (len(ids) - 1) // WINDOW
    rows = [ids[at * WINDOW : (at + 1) * WINDOW + 1] for at in range(count)]
    order = numpy.random.default_rng(1).permutation(count)
    return torch.tensor(rows)[order], size


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("text")
    arguments.add_argument("output")
    arguments.add_argument("--until", help="wall clock, HH:MM")
    arguments.add_argument("--minutes", type=float, default=60)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--resume", help="a `mote-tiny-master` folder to go on from")
    arguments.add_argument("--done", type=float, default=0, help="with --resume: how much is done")
    arguments.add_argument("--rate", type=float, default=0.02)
    arguments.add_argument("--no-compile", action="store_true")
    options = arguments.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")

    os.makedirs(options.output, exist_ok=True)
    kinds = documents(options.text)
    stored = os.path.join(options.output, "tokenizer.json")
    tokenizer = Tokenizer.from_file(stored) if os.path.exists(stored) else vocabulary(kinds)
    tokenizer.save(stored)
    windows = Windows(kinds, tokenizer, seed=1)
    test = held_out(options.text, tokenizer)
    model = Model()
    if options.resume:
        load(model, options.resume)
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{count} parameters, {windows.tokens} tokens of text, {1 / test[1]:.3f} bytes a token", flush=True)

    compiled = {}
    for layers in {SHALLOW_LAYERS, LAYERS}:
        call = functools.partial(model, layers=layers)
        compiled[layers] = call if options.no_compile else torch.compile(call)
    muon = Muon(list(model.matrices.values()))
    adam = torch.optim.AdamW(
        [{"params": [model.embedding], "factor": 4e-3}, {"params": [model.norms], "factor": 5e-3}],
        lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0,
    )  # fmt: skip
    start, end = time.time(), time.time() + options.minutes * 60
    if options.until:
        hour, minute = map(int, options.until.split(":"))
        end = datetime.datetime.now().replace(hour=hour, minute=minute, second=0).timestamp()
    saved, said, step, seen, mean = start, start, 0, 0, None
    while (now := time.time()) < end:
        progress = options.done + (1 - options.done) * (now - start) / (end - start)
        quantised = progress > 1 - ROUNDED
        ids, targets = windows.batch(MIX if progress < 0.5 else LAST_MIX)
        layers = SHALLOW_LAYERS if progress < SHALLOW else LAYERS
        with model.as_q4_0(quantised):
            with torch.autocast("cpu", torch.bfloat16):
                loss = compiled[layers](ids, targets)
            loss.backward()
        factor = schedule(progress)
        muon.step(options.rate * factor)
        for group in adam.param_groups:
            group["lr"] = group["factor"] * factor
        adam.step()
        adam.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + ids.numel()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if now - said > 20 or step in (1, 10):
            said = now
            speed = seen / (time.time() - start)
            print(f"{step} {progress:.3f} loss {mean:.4f} ({loss.item():.3f}), {speed:.0f} tokens/s", flush=True)
        if now - saved > 240:
            saved = now
            print(f"held-out {bits_per_byte(model, test, quantised, 64):.4f} bits a byte", flush=True)
            save(model, tokenizer, os.path.join(options.output, "mote-tiny-master"), lambda weight: weight)
            save(model, tokenizer, os.path.join(options.output, "mote-tiny"), q4_0)
    save(model, tokenizer, os.path.join(options.output, "mote-tiny-master"), lambda weight: weight)
    save(model, tokenizer, os.path.join(options.output, "mote-tiny"), q4_0)
    print(f"{step} steps, {seen} tokens, held-out bits a byte: "
          f"{bits_per_byte(model, test, False):.4f} as trained, "
          f"{bits_per_byte(model, test, True):.4f} as Q4_0")  # fmt: skip


if __name__ == "__main__":
    main()
