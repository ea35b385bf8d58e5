"""`python -m service`: the command line of `service.cli`."""

from service.cli import app

if __name__ == "__main__":
    app()
