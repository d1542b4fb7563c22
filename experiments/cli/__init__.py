"""The command line: arguments composed and checked, commands launched, and what is printed."""
