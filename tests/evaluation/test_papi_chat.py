"""The figure of the traits read from chat."""

from persona_align.evaluation import papi_chat


def test_the_figure_shows_traits_and_baselines(tmp_path):
    names = [*papi_chat.TRAITS, "mean"]
    result = {
        "correlation": dict.fromkeys(names, 0.8) | {"N": -0.1},
        "interval": {name: [0.7, 0.9] for name in names} | {"N": [-0.3, 0.1]},
        "baselines": {"another person": dict.fromkeys(names, 0.05)},
    }
    papi_chat.figure(result, tmp_path / "papi.svg")
    assert (tmp_path / "papi.svg").stat().st_size > 1000
