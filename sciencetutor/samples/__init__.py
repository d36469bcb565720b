"""Questions of our own, drawn and worded by code: no download needed.

Nothing is imported before it is asked for, so that a light part of the package stays light.
"""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'core': ['make_problem', 'make_problems'],
    'skills': ['SKILLS'],
})
