"""Recorded demand: files of past periods, the days each purpose may see, and how worlds are drawn from them.

A *recorded file* holds one series of units a period for every customer and product. It is named in one of three ways:

``shop_sales.csv``
    A table beside the scenario file (:mod:`.reading` has what is read): CSV, Excel or Parquet, with one column a series
    or one row a series and date.
``completejourney:daily``
    Grocery units a day of 2017 by store and category, from an optional package (:mod:`..completejourney`).
``synthetic:grocery?seed=1``
    Seeded sales of the same kind under any column name (:mod:`..synthetic`), so that nothing need be downloaded.

A world replays a *window* of the file from its first period, or, with ``block: b``, strings together blocks of b periods
drawn with replacement (:mod:`.blocks`). Which window, :mod:`.windows` says.
"""
