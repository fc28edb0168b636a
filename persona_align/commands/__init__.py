"""The commands of the command line, one concept to a module; heavy imports happen inside them."""

__all__: list[str] = []
