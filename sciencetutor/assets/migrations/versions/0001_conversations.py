"Users, their conversations, the messages in them, and what was thought of the answers."
import sqlalchemy as sa
from alembic import op

revision, down_revision = '0001', None

def upgrade():
    op.create_table('users',
        sa.Column('id', sa.Integer, primary_key=True),
        sa.Column('name', sa.Text, nullable=False, unique=True),
        sa.Column('created', sa.Float, nullable=False))
    op.create_table('conversations',
        sa.Column('id', sa.Text, primary_key=True),
        sa.Column('user_id', sa.Integer, sa.ForeignKey('users.id', ondelete='CASCADE'), nullable=False, index=True),
        sa.Column('title', sa.Text, nullable=False),
        sa.Column('created', sa.Float, nullable=False),
        sa.Column('updated', sa.Float, nullable=False))
    op.create_table('messages',
        sa.Column('id', sa.Integer, primary_key=True),
        sa.Column('conversation_id', sa.Text, sa.ForeignKey('conversations.id', ondelete='CASCADE'), nullable=False, index=True),
        sa.Column('created', sa.Float, nullable=False),
        sa.Column('question', sa.Text, nullable=False),
        sa.Column('context', sa.Text, nullable=False, server_default=''),
        sa.Column('choices', sa.JSON, nullable=False),
        sa.Column('picture', sa.Text, index=True),
        sa.Column('probs', sa.JSON, nullable=False),
        sa.Column('text', sa.Text, nullable=False, server_default=''),
        sa.Column('note', sa.Text, nullable=False, server_default=''))
    op.create_table('feedback',
        sa.Column('message_id', sa.Integer, sa.ForeignKey('messages.id', ondelete='CASCADE'), primary_key=True),
        sa.Column('thumb', sa.Integer, nullable=False),
        sa.Column('correction', sa.Text, nullable=False, server_default=''),
        sa.Column('created', sa.Float, nullable=False))

def downgrade():
    for table in ('feedback', 'messages', 'conversations', 'users'): op.drop_table(table)
