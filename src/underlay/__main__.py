"""`python -m underlay` is the `underlay` command."""

from underlay.cli import main

if __name__ == "__main__":
    main()
