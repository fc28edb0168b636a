"""The canary scan of `memory_forget` on mem0: what its `delete_all` leaves. `memory_forget --mem0` runs it.

Vectors are hashes, and nothing is inferred, so that it needs neither a model nor a network. Prints one JSON object.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from tests.memory.canary import forms, scan

DIMENSION = 384
VICTIM, TEXTS = "victim-zanzibar-991", [f"the canary number {i} of zanzibar sings {i * 7919}" for i in range(5)]


class Hashes:
    """An embedder as mem0 calls one: the same unit vector for the same text."""

    def embed(self, text, *_):
        return unit(text).tolist()

    def embed_batch(self, texts, *_):
        return [self.embed(text) for text in texts]


def unit(text):
    given = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
    vector = given.standard_normal(DIMENSION).astype(np.float32)
    return vector / np.linalg.norm(vector)


def main(folder, users, turns):
    os.environ |= {"MEM0_TELEMETRY": "False", "MEM0_DIR": f"{folder}/home", "OPENAI_API_KEY": "none is called"}
    import importlib.metadata

    from mem0 import Memory

    store = {"path": f"{folder}/vectors", "on_disk": True, "embedding_model_dims": DIMENSION, "collection_name": "m"}
    memory = Memory.from_config(
        {"vector_store": {"provider": "qdrant", "config": store}, "history_db_path": f"{folder}/history.db"}
    )
    memory.embedding_model = Hashes()
    for u in range(users):
        for k in range(turns):
            say(memory, f"user-{u}", f"user {u} turn {k}")
    for text in TEXTS:
        say(memory, VICTIM, text)
    needles = forms([VICTIM, *TEXTS], [unit(text) for text in TEXTS])
    before = scan(folder, needles)
    begin = time.perf_counter()
    memory.delete_all(user_id=VICTIM)
    seconds = time.perf_counter() - begin
    after = scan(folder, needles)
    return {
        "version": importlib.metadata.version("mem0ai"),
        "users": users,
        "turns_per_user": turns,
        "delete_seconds": round(seconds, 3),
        "hits_before": sum(before.values()),
        "hits_after": sum(after.values()),
        "not_found_even_before": "vectors, which its store pickles number by number",
        "forms_left": sorted({name for _, name in after}),
        "files_left": sorted({name for name, _ in after}),
    }


def say(memory, user, text):
    memory.add([{"role": "user", "content": text}], user_id=user, infer=False)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
