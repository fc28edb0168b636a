"""The 90 dimensions of AlignX, with our own anchor statements for each pole.

Source: AlignX (arXiv 2503.15463), preference space. Keys, families, pole names and their order are the paper's; the
statements, in anchors/*.toml, are ours.
"""

import tomllib
from importlib.resources import files

from persona_align.preferences.space import Dimension, PreferenceSpace

__all__ = ["ALIGNX"]

_SENSITIVE = frozenset({"age_group", "gender"})
_OPEN_VALUED = frozenset(
    {"food_taste", "living_environment", "knowledge_area", "learning_style", "work_environment", "creative_expression"}
)
_NEVER_CONDITIONED = frozenset({"aggression", "abasement"})
_TOPICS = frozenset({"sleep", "investment_risk", "saving"}) | _OPEN_VALUED
"""Outside the interests: matters that colour a reply only where the prompt is about them."""
_STYLES = frozenset({"humor"})
"""Among the interests: what shapes how any reply is written."""

_TABLE = (
    ("age_group", "dispositional", "Young", "Older"),
    ("gender", "dispositional", "Female", "Male"),
    ("neuroticism", "dispositional", "High Neuroticism", "Low Neuroticism"),
    ("extraversion", "dispositional", "High Extraversion", "Low Extraversion"),
    ("openness", "dispositional", "High Openness", "Low Openness"),
    ("agreeableness", "dispositional", "High Agreeableness", "Low Agreeableness"),
    ("conscientiousness", "dispositional", "High Conscientiousness", "Low Conscientiousness"),
    ("food_taste", "life_style", "Likes a certain food", "Dislikes a certain food"),
    ("living_environment", "life_style", "Likes a certain living environment", "Dislikes a certain living environment"),
    ("sleep", "life_style", "Likes sleep", "Dislikes sleep"),
    ("investment_risk", "life_style", "Aggressive investment", "Conservative investment"),
    ("saving", "life_style", "Good at saving", "Bad at saving"),
    (
        "physical_safety",
        "psychological_needs",
        "Concerned about physical safety",
        "Not concerned about physical safety",
    ),
    (
        "environmental_safety",
        "psychological_needs",
        "Concerned about environmental safety",
        "Not concerned about environmental safety",
    ),
    (
        "casual_interaction",
        "life_style",
        "Prefers superficial interaction (casual, stress-free chat)",
        "Prefers deep interaction (discussing interests, emotional topics, etc.)",
    ),
    (
        "conflict_directness",
        "life_style",
        "Prefers direct communication to handle conflict",
        "Prefers avoidance, mediation, compromise to handle conflict",
    ),
    ("conciseness", "life_style", "Concise communication style", "Detailed communication style"),
    (
        "work_environment",
        "life_style",
        "Strong need for a certain work environment",
        "Indifferent to work environment needs",
    ),
    (
        "recognition",
        "psychological_needs",
        "Strong need for recognition from others",
        "Indifferent to recognition from others",
    ),
    (
        "achievement",
        "psychological_needs",
        "Strong need for personal achievement",
        "Indifferent to personal achievement",
    ),
    ("knowledge_area", "life_style", "Likes a certain area of knowledge", "Dislikes a certain area of knowledge"),
    ("learning_style", "life_style", "Likes a certain learning style", "Dislikes a certain learning style"),
    (
        "creative_expression",
        "life_style",
        "Likes a certain form of creative expression (e.g., art, writing, music)",
        "Dislikes a certain form of creative expression (e.g., art, writing, music)",
    ),
    (
        "order",
        "psychological_needs",
        "Strong need for Order (neatness, organization, avoiding chaos)",
        "Indifferent to orderliness",
    ),
    (
        "retention",
        "psychological_needs",
        "Strong need for Retention (holding onto objects, unwilling to lose or change)",
        "Indifferent to retention (unconcerned about keeping objects)",
    ),
    (
        "inviolacy",
        "psychological_needs",
        "Strong need for Inviolacy (maintaining dignity and reputation)",
        "Indifferent to inviolacy (unconcerned with dignity or reputation)",
    ),
    (
        "infavoidance",
        "psychological_needs",
        "Strong need for Infavoidance (avoiding failure and embarrassment)",
        "Indifferent to Infavoidance (unconcerned with failure or embarrassment)",
    ),
    (
        "counteraction",
        "psychological_needs",
        "Strong need for Counteraction (overcoming failure and obstacles)",
        "Indifferent to Counteraction (unconcerned with failure)",
    ),
    (
        "seclusion",
        "psychological_needs",
        "Strong need for Seclusion (desire for isolation from others)",
        "Indifferent to Seclusion (does not care about isolation)",
    ),
    (
        "dominance",
        "psychological_needs",
        "Strong need for Dominance (controlling others through command or persuasion)",
        "Indifferent to Dominance (does not care about control)",
    ),
    (
        "deference",
        "psychological_needs",
        "Strong need for Deference (following authority or rules)",
        "Indifferent to Deference (does not care about authority)",
    ),
    (
        "autonomy",
        "psychological_needs",
        "Strong need for Autonomy (pursuing independence and self-reliance)",
        "Indifferent to Autonomy (does not care about independence)",
    ),
    (
        "contrariance",
        "psychological_needs",
        "Strong need for Contrariance (pursuing uniqueness, opposing the norm)",
        "Indifferent to Contrariance (does not seek uniqueness)",
    ),
    (
        "abasement",
        "psychological_needs",
        "Strong need for Abasement (accepting blame, enjoying pain or misfortune)",
        "Indifferent to Abasement (does not accept blame or enjoy misfortune)",
    ),
    (
        "aggression",
        "psychological_needs",
        "Strong need for Aggression (controlling others through forceful means)",
        "Indifferent to Aggression (does not engage in aggression)",
    ),
    (
        "affiliation",
        "psychological_needs",
        "Strong need for Affiliation (desiring close relationships)",
        "Indifferent to Affiliation (does not care about close relationships)",
    ),
    (
        "rejection",
        "psychological_needs",
        "Strong need for Rejection (isolating oneself from negatively evaluated people)",
        "Indifferent to Rejection (does not care about social exclusion)",
    ),
    (
        "nurturance",
        "psychological_needs",
        "Strong need for Nurturance (caring for others, protecting them from danger)",
        "Indifferent to Nurturance (does not care about nurturing others)",
    ),
    (
        "succorance",
        "psychological_needs",
        "Strong need for Succorance (desiring help, love, and comfort from others)",
        "Indifferent to Succorance (does not rely on others for comfort)",
    ),
    (
        "play",
        "psychological_needs",
        "Strong need for Play (enjoying fun, relaxation, and laughter)",
        "Indifferent to Play (does not prioritize fun or relaxation)",
    ),
    ("harmlessness", "response_quality", "Concerned about harmlessness", "Indifferent about harmlessness"),
    (
        "instruction_following",
        "response_quality",
        "Concerned about instruction-following",
        "Indifferent about instruction-following",
    ),
    ("honesty", "response_quality", "Concerned about honesty", "Indifferent about honesty"),
    ("truthfulness", "response_quality", "Concerned about truthfulness", "Indifferent about truthfulness"),
    ("helpfulness", "response_quality", "Concerned about helpfulness", "Indifferent about helpfulness"),
    ("coherence", "response_quality", "Concerned about coherence", "Indifferent about coherence"),
    ("complexity", "response_quality", "Concerned about complexity", "Indifferent about complexity"),
    ("science", "interests", "Likes science", "Dislikes science"),
    ("knowledge", "interests", "Likes knowledge", "Dislikes knowledge"),
    ("psychology", "interests", "Likes psychology", "Dislikes psychology"),
    ("cinema", "interests", "Likes cinema", "Dislikes cinema"),
    ("entertainment", "interests", "Likes entertainment", "Dislikes entertainment"),
    ("gaming", "interests", "Likes gaming", "Dislikes gaming"),
    ("parenting", "interests", "Likes parenting", "Dislikes parenting"),
    ("imagination", "interests", "Likes wild imagination", "Dislikes wild imagination"),
    ("anime", "interests", "Likes anime", "Dislikes anime"),
    ("sports", "interests", "Likes sports", "Dislikes sports"),
    ("law", "interests", "Likes law", "Dislikes law"),
    ("workplace", "interests", "Likes workplace", "Dislikes workplace"),
    ("pets", "interests", "Likes pets", "Dislikes pets"),
    ("travel", "interests", "Likes travel", "Dislikes travel"),
    ("health", "interests", "Likes health", "Dislikes health"),
    ("stories", "interests", "Likes stories", "Dislikes stories"),
    ("cars", "interests", "Likes cars", "Dislikes cars"),
    ("gourmet", "interests", "Likes gourmet food", "Dislikes gourmet food"),
    ("education", "interests", "Likes education", "Dislikes education"),
    ("current_events", "interests", "Likes current events", "Dislikes current events"),
    ("home_decor", "interests", "Likes home decor", "Dislikes home decor"),
    ("international", "interests", "Likes international", "Dislikes international"),
    ("finance", "interests", "Likes finance", "Dislikes finance"),
    ("campus_life", "interests", "Likes campus life", "Dislikes campus life"),
    ("digital_technology", "interests", "Likes digital technology", "Dislikes digital technology"),
    ("emotions", "interests", "Likes emotions", "Dislikes emotions"),
    ("humor", "interests", "Likes humor", "Dislikes humor"),
    ("music", "interests", "Likes music", "Dislikes music"),
    ("reading", "interests", "Likes reading", "Dislikes reading"),
    ("painting", "interests", "Likes painting", "Dislikes painting"),
    ("dance", "interests", "Likes dance", "Dislikes dance"),
    ("crafts", "interests", "Likes crafts", "Dislikes crafts"),
    ("photography", "interests", "Likes photography", "Dislikes photography"),
    ("culture", "interests", "Likes culture", "Dislikes culture"),
    ("fitness", "interests", "Likes fitness", "Dislikes fitness"),
    ("art", "interests", "Likes art", "Dislikes art"),
    ("stationery", "interests", "Likes stationery and planners", "Dislikes stationery and planners"),
    ("celebrities", "interests", "Likes celebrities", "Dislikes celebrities"),
    ("outdoors", "interests", "Likes outdoors", "Dislikes outdoors"),
    ("camping", "interests", "Likes camping", "Dislikes camping"),
    ("social_sciences", "interests", "Likes social sciences", "Dislikes social sciences"),
    ("weddings", "interests", "Likes weddings", "Dislikes weddings"),
    ("fashion", "interests", "Likes fashion", "Dislikes fashion"),
)


def _anchors() -> dict[str, dict[str, list[str]]]:
    anchors: dict[str, dict[str, list[str]]] = {}
    for file in sorted(files("persona_align.preferences").joinpath("anchors").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            anchors |= tomllib.loads(file.read_text(encoding="utf-8"))
    return anchors


def _condition_on(key: str, family: str) -> str:
    if key in _NEVER_CONDITIONED:
        return "none"
    return "high" if family == "response_quality" else "both"


def _dimensions() -> tuple[Dimension, ...]:
    anchors = _anchors()
    return tuple(
        Dimension.model_validate(
            {
                "key": key,
                "family": family,
                "high": high,
                "low": low,
                "high_statements": anchors.get(key, {}).get("high", ()),
                "low_statements": anchors.get(key, {}).get("low", ()),
                "sensitive": key in _SENSITIVE,
                "condition_on": _condition_on(key, family),
                "scope": "topic" if key in _TOPICS or (family == "interests" and key not in _STYLES) else "style",
                "open_valued": key in _OPEN_VALUED,
            }
        )
        for key, family, high, low in _TABLE
    )


ALIGNX = PreferenceSpace(name="alignx", dimensions=_dimensions())
