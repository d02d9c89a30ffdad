"""What an extraction asks, what it will take, and the files it leaves: the features of a whole data set."""
