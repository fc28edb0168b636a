"""Rows sampled each by its own settings."""

import numpy as np
import torch

from persona_align.models.sampling import RowSampler
from persona_align.models.settings import Settings


def drawn(logits, settings, steps):
    """[steps, rows] tokens, by greedy choice after the sampler."""
    sampler = RowSampler(settings)
    return torch.stack([sampler(None, logits.clone()).argmax(-1) for _ in range(steps)])


def wish(temperature, seed=0, top_p=1.0, max_tokens=4000):
    return Settings(temperature=temperature, seed=seed, top_p=top_p, max_tokens=max_tokens)


def test_frequencies_follow_the_softmax():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, -9.0]])
    for temperature in (0.5, 1.0, 2.0):
        counts = (
            np.bincount(
                drawn(logits.expand(8, 5), [wish(temperature, seed) for seed in range(8)], 500).flatten(), minlength=5
            )
            / 4000
        )
        np.testing.assert_allclose(counts, (logits[0] / temperature).softmax(-1), atol=0.03)


def test_top_p_keeps_the_likeliest_that_reach_it():
    logits = torch.tensor([[0.1, 0.4, 0.3, 0.2]]).log()
    for top_p, kept in ((0.3, {1}), (0.5, {1, 2}), (0.75, {1, 2, 3}), (1.0, {0, 1, 2, 3})):
        assert set(drawn(logits, [wish(1.0, top_p=top_p)], 500)[:, 0].tolist()) == kept


def test_a_row_does_not_depend_on_its_neighbours():
    torch.manual_seed(0)
    logits = torch.randn(3, 50)
    mine = wish(1.0, seed=7, top_p=0.9, max_tokens=40)
    alone = drawn(logits[1:2], [mine], 40)[:, 0]
    among = drawn(logits, [wish(0.3, seed=1, max_tokens=9), mine, wish(0.0)], 40)
    assert torch.equal(among[:, 1], alone)
    assert (among[:, 2] == logits[2].argmax()).all()


def test_greedy_rows_keep_their_scores():
    logits = torch.randn(2, 9)
    scores = RowSampler([wish(0.0), wish(1.0)])(None, logits)
    assert torch.equal(scores[0], logits[0])
    assert torch.isfinite(scores[1]).sum() == 1


def test_global_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    drawn(torch.randn(1, 9, generator=torch.Generator().manual_seed(0)), [wish(1.0)], 5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_draw_never_leaves_the_kept_tokens():
    logits = torch.tensor([[0.0, 0.0, -torch.inf, -torch.inf]])
    assert set(drawn(logits, [wish(1.0, max_tokens=4000)], 4000)[:, 0].tolist()) == {0, 1}
