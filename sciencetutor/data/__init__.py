"""Questions in, a data set in LLaVA format out.

Nothing is imported before it is asked for, so that a light part of the package stays light.
"""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'core': ['load_split', 'run_data'],
    'exports': ['run_export'],
    'tables': ['run_check'],
    'formats': ['question_text', 'problem'],
    'hub': ['run_download', 'run_upload'],
})
