"""What the routes of jobs share: how one is asked for, found, shown, followed and compared."""
