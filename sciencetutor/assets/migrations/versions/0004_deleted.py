"What a child deletes: flagged messages stay for the adult, and the questions of the day still count."
import sqlalchemy as sa
from alembic import op

revision, down_revision = '0004', '0003'

def upgrade():
    op.add_column('conversations', sa.Column('deleted', sa.Float))
    op.create_table('days',
        sa.Column('user_id', sa.Integer, sa.ForeignKey('users.id', ondelete='CASCADE'), primary_key=True),
        sa.Column('day', sa.Text, primary_key=True),
        sa.Column('asked', sa.Integer, nullable=False))

def downgrade():
    op.drop_table('days')
    with op.batch_alter_table('conversations') as t: t.drop_column('deleted')
