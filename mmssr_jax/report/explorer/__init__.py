"""The pool explorer: the pool's samples on the page, to search, filter, sort and open."""
