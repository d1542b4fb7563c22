"""Boards: published instances with their numbers, what they come to here, and the pages that say so."""
