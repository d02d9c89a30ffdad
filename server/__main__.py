"""`python -m server`: the service of one machine."""

from server.huge_pages import use_huge_pages

if __name__ == "__main__":
    use_huge_pages()
    # What this brings takes a second: not before the process may have started again.
    from server.ending import leave
    from server.main import main

    leave(main())
