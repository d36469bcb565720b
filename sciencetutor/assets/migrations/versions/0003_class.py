"A class: logins, roles and grades; how a question was asked, how long it took, and what the safety rules said."
import sqlalchemy as sa
from alembic import op

revision, down_revision = '0003', '0002'

def upgrade():
    with op.batch_alter_table('users') as t:
        t.add_column(sa.Column('role', sa.Text, nullable=False, server_default='child'))
        t.add_column(sa.Column('hash', sa.Text))
        t.add_column(sa.Column('grade', sa.Integer))
    with op.batch_alter_table('messages') as t:
        t.add_column(sa.Column('mode', sa.Text, nullable=False, server_default='explain'))
        t.add_column(sa.Column('flag', sa.Text))
        t.add_column(sa.Column('seconds', sa.Float, nullable=False, server_default='0'))
        t.add_column(sa.Column('sources', sa.JSON))

def downgrade():
    with op.batch_alter_table('messages') as t:
        for c in ('mode', 'flag', 'seconds', 'sources'): t.drop_column(c)
    with op.batch_alter_table('users') as t:
        for c in ('role', 'hash', 'grade'): t.drop_column(c)
