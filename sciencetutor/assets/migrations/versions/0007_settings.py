"Settings of a store, such as the grown-ups' PIN."
import sqlalchemy as sa
from alembic import op

revision, down_revision = '0007', '0006'

def upgrade():
    op.create_table('settings',
        sa.Column('key', sa.Text, primary_key=True),
        sa.Column('value', sa.Text, nullable=False))

def downgrade(): op.drop_table('settings')
