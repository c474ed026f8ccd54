"""Pools of simple pictures in styles of their own, which no base model of the package has seen."""
