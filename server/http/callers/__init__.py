"""Who is calling: their token, how many streams they have open, and whether they are still there."""
