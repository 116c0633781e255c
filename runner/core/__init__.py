"""The pure core: what a workflow does next is a function of its code and its journal.

Nothing here knows of event loops, networks, clocks or chance.
"""
