"What was practised, and how well each skill is known."
import sqlalchemy as sa
from alembic import op

revision, down_revision = '0002', '0001'

def upgrade():
    op.create_table('quiz_results',
        sa.Column('id', sa.Integer, primary_key=True),
        sa.Column('user_id', sa.Integer, sa.ForeignKey('users.id', ondelete='CASCADE'), nullable=False, index=True),
        sa.Column('created', sa.Float, nullable=False),
        sa.Column('skill', sa.Text, nullable=False),
        sa.Column('question', sa.Text, nullable=False),
        sa.Column('chosen', sa.Text, nullable=False),
        sa.Column('correct', sa.Boolean, nullable=False),
        sa.Column('seconds', sa.Float, nullable=False, server_default='0'))
    op.create_table('mastery',
        sa.Column('user_id', sa.Integer, sa.ForeignKey('users.id', ondelete='CASCADE'), primary_key=True),
        sa.Column('skill', sa.Text, primary_key=True),
        sa.Column('known', sa.Float, nullable=False),
        sa.Column('asked', sa.Integer, nullable=False),
        sa.Column('updated', sa.Float, nullable=False))

def downgrade():
    for table in ('mastery', 'quiz_results'): op.drop_table(table)
