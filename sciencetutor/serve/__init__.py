"""The running tutor: page, HTTP APIs and websockets.

Nothing is imported before it is asked for, so that a light part of the package stays light.
"""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'core': ['Reach', 'Server', 'ask', 'make_engine', 'open_port', 'run_serve'],
    'api': ['make_api'],
})
