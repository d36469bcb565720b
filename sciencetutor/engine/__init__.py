"""One model asked by many, in this process or behind an address.

Nothing is imported before it is asked for, so that a light part of the package stays light.
"""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'core': ['Engine', 'TooLong'],
    'remote': ['RemoteEngine'],
    'endpoint': ['Endpoint'],
})
