"Logins that are open, the store's own name, and users' names as they are compared."
import secrets, unicodedata
import sqlalchemy as sa
from alembic import op

revision, down_revision = '0005', '0004'

def clean_names(c):
    "A blank around a name kept its child out; names that would become the same stay as they are."
    users = sa.table('users', sa.column('id', sa.Integer), sa.column('name', sa.Text))
    found = c.execute(sa.select(users.c.id, users.c.name)).all()
    taken = {name for _, name in found}
    for id, name in found:
        clean = ' '.join(unicodedata.normalize('NFC', name).split())
        if not clean or clean in taken: continue
        taken.add(clean)
        c.execute(users.update().where(users.c.id == id).values(name=clean))

def upgrade():
    op.create_table('sessions',
        sa.Column('token', sa.Text, primary_key=True),
        sa.Column('user_id', sa.Integer, sa.ForeignKey('users.id', ondelete='CASCADE'), nullable=False, index=True),
        sa.Column('created', sa.Float, nullable=False))
    stores = op.create_table('stores', sa.Column('id', sa.Text, primary_key=True))
    op.bulk_insert(stores, [dict(id=secrets.token_hex(16))])
    clean_names(op.get_bind())

def downgrade():
    for table in ('stores', 'sessions'): op.drop_table(table)
