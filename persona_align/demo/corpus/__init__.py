"""The corpus that the bundled model is trained on: all text ours, every choice seeded."""
