"""Workers: processes that do independent pieces of a command's work side by side, with results equal to the bit."""
