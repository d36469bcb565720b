"""The tutor itself: what a child asks, what is found, what is said, and the page where it happens.

Nothing is imported before it is asked for, so that a light part of the package stays light.
"""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'core': ['make_page'],
    'turns': ['Turn', 'find_choices', 'reply'],
    'retrieval': ['find_cards', 'look_up'],
    'safety': ['Guard'],
    'store': ['Store'],
})
