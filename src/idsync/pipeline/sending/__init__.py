"""What only sending to webhook endpoints needs: who may be sent to now, what a request is, how an answer is judged."""
