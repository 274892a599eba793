"""Comity: a contract on one chain has its logic executed on another, under a trust model both sides chose."""

__version__ = "0.1.0"
