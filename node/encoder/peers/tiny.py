"""Writes the tiny random BERT of the tests, in both ways that sentence-transformers has of writing a folder, and the
vectors that a forward pass in numpy (64 bits) gives.

    python peers/tiny.py src/sentence/tiny

Needs numpy, scipy, safetensors and tokenizers. The same seed gives the same files.
"""

import json
import os
import sys

import numpy as np
from safetensors.numpy import save_file
from scipy.special import erf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

HIDDEN, LAYERS, HEADS, WIDE, POSITIONS, TOKENS_MAX, EPS = 24, 2, 3, 48, 20, 16, 1e-12
WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] the of is a what are symptoms treatment kidney stone heart failure fever pain "
    "neph ##ritis ##ro ##logy , . ? ' s in and"
).split()
TEXTS = [
    "What are the symptoms of a kidney stone?",
    "Nephritis",
    "",
    "Nephrology: the treatment of heart failure, fever and pain in the kidney, the heart, and the kidney.",
    "fever",
    "Zebra zebra, the heart's pain.",
]


def main(folder):
    rng = np.random.default_rng(7)
    weights = {}

    def draw(name, *shape, around=0.0, spread=0.4):
        weights[name] = (around + spread * rng.standard_normal(shape)).astype(np.float32)

    draw("embeddings.word_embeddings.weight", len(WORDS), HIDDEN, spread=1.0)
    draw("embeddings.position_embeddings.weight", POSITIONS, HIDDEN)
    draw("embeddings.token_type_embeddings.weight", 2, HIDDEN)
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for name, rows_in, rows_out in (
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", HIDDEN, WIDE),
            ("output.dense", WIDE, HIDDEN),
        ):
            draw(at + name + ".weight", rows_out, rows_in)
            draw(at + name + ".bias", rows_out)
        norms += [at + "attention.output.LayerNorm", at + "output.LayerNorm"]
    for name in norms:
        draw(name + ".weight", HIDDEN, around=1.0, spread=0.2)
        draw(name + ".bias", HIDDEN, spread=0.2)

    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # What a published folder often carries, and a reader must not obey.
    tokenizer.enable_truncation(max_length=8)
    tokenizer.enable_padding(length=8)

    def write(path, content):
        path = os.path.join(folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.write("\n")

    os.makedirs(folder, exist_ok=True)
    save_file(weights, os.path.join(folder, "model.safetensors"))
    tokenizer.save(os.path.join(folder, "tokenizer.json"), pretty=False)
    write(
        "config.json",
        {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_act": "gelu",
            "hidden_size": HIDDEN,
            "intermediate_size": WIDE,
            "layer_norm_eps": EPS,
            "max_position_embeddings": POSITIONS,
            "num_attention_heads": HEADS,
            "num_hidden_layers": LAYERS,
            "type_vocab_size": 2,
            "vocab_size": len(WORDS),
        },
    )
    kind = "sentence_transformers.models."
    write(
        "modules.json",
        [
            {"idx": 0, "name": "0", "path": "", "type": kind + "Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": kind + "Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": kind + "Normalize"},
        ],
    )
    write("sentence_bert_config.json", {"max_seq_length": TOKENS_MAX, "do_lower_case": False})
    write(
        "1_Pooling/config.json",
        {"word_embedding_dimension": HIDDEN, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True},
    )

    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=TOKENS_MAX)
    expected = []
    for text in TEXTS:
        hidden = forward(tokenizer.encode(text).ids, weights)
        expected.append({"text": text, "mean": unit(hidden.mean(0)), "cls": unit(hidden[0])})
    write("expected.json", expected)


def forward(ids, weights):
    w = {name: tensor.astype(np.float64) for name, tensor in weights.items()}

    def linear(name, x):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(name, x):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPS) * w[name + ".weight"] + w[name + ".bias"]

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm("embeddings.LayerNorm", x + w["embeddings.token_type_embeddings.weight"][0])
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."

        def heads(name):
            return linear(at + "attention.self." + name, x).reshape(len(ids), HEADS, -1).transpose(1, 0, 2)

        scores = heads("query") @ heads("key").transpose(0, 2, 1) / np.sqrt(HIDDEN / HEADS)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = scores / scores.sum(-1, keepdims=True) @ heads("value")
        mixed = linear(at + "attention.output.dense", mixed.transpose(1, 0, 2).reshape(len(ids), HIDDEN))
        x = norm(at + "attention.output.LayerNorm", mixed + x)
        wide = linear(at + "intermediate.dense", x)
        wide = 0.5 * wide * (1 + erf(wide / np.sqrt(2)))
        x = norm(at + "output.LayerNorm", linear(at + "output.dense", wide) + x)
    return x


def unit(vector):
    return [round(float(x), 7) for x in vector / np.linalg.norm(vector)]


if __name__ == "__main__":
    main(*sys.argv[1:])
