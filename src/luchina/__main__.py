"""``python -m luchina``."""

from luchina.cli import main

main()
