"""Where and how tasks run. Knows Ray; never datasets or operators."""
