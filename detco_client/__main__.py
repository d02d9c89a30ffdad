"""`detco`, also as `python -m detco_client`."""

from detco_client.cli.app import main

if __name__ == "__main__":
    main()
