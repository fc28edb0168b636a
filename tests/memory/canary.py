"""Every form in which a person's data could lie in a file, and a search of every byte for them."""

import base64
import contextlib
import zlib
from pathlib import Path

import numpy as np


def forms(texts=(), embeddings=()):
    """Needles by name: texts in three encodings and base64, embeddings raw and normalised, in three precisions."""
    needles = {}
    for i, text in enumerate(texts):
        data, name = text.encode(), f"{i} {text[:12]}"
        needles[f"{name} utf-8"] = data
        needles[f"{name} utf-16-le"] = text.encode("utf-16-le")
        needles[f"{name} utf-16-be"] = text.encode("utf-16-be")
        for shift, encoded in _base64(data):
            needles[f"{name} base64+{shift}"] = encoded
        needles[f"{name} hex"] = data.hex().encode()
    for i, embedding in enumerate(embeddings):
        unit = embedding / np.linalg.norm(embedding)
        for name, values in (("raw", embedding), ("normalised", unit)):
            for kind in ("<f4", ">f4", "<f8", "<f2"):
                data = np.ascontiguousarray(values, kind).tobytes()
                needles[f"embedding {i} {name} {kind}"] = data[:32]
                needles[f"embedding {i} {name} {kind} tail"] = data[-32:]
            needles[f"embedding {i} {name} json"] = ", ".join(map(str, values[:3].tolist())).encode()
            for kind in ("<f4", "<f2"):
                for shift, encoded in _base64(values.astype(kind).tobytes()):
                    needles[f"embedding {i} {name} {kind} base64+{shift}"] = encoded[:40]
    return needles


def scan(folder, needles):
    """How often each needle occurs in any file or file name under a folder, also inside zlib streams."""
    hits = {}
    for file in sorted(Path(folder).rglob("*")):
        contents = [str(file.relative_to(folder)).encode()]
        if file.is_file():
            contents.append(file.read_bytes())
            contents += _inflated(contents[-1])
        for content in contents:
            for name, needle in needles.items():
                if needle in content:
                    hits[file.name, name] = hits.get((file.name, name), 0) + content.count(needle)
    return hits


def _base64(data):
    """How bytes look in base64, at any offset within longer ones."""
    for shift in range(3):
        encoded = base64.b64encode(b"\x00" * shift + data)
        yield shift, encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]


def _inflated(data):
    found = []
    for magic in (b"\x78\x9c", b"\x78\x01", b"\x78\xda"):
        start = data.find(magic)
        while start >= 0 and len(found) < 200:
            with contextlib.suppress(zlib.error):
                found.append(zlib.decompressobj().decompress(data[start : start + (1 << 20)], 1 << 20))
            start = data.find(magic, start + 1)
    return found
