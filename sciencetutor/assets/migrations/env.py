"Alembic runs this for every migration; the connection comes from `Store`."
from alembic import context

context.configure(connection=context.config.attributes['connection'], render_as_batch=True, transactional_ddl=True)
with context.begin_transaction(): context.run_migrations()
