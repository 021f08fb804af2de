"""One node: it adds its own constant to the weights it receives and sends them back."""

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from echo import weights

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Send this node's own weights; every node counts as one example, so FedAvg is the plain mean."""
    values = message.content["arrays"][weights.NAME].numpy()
    values += weights.step_of(int(context.node_config["node"]))
    return Message(
        content=RecordDict(
            {
                "arrays": ArrayRecord({weights.NAME: Array(values)}),
                "metrics": MetricRecord({"num-examples": 1}),
            }
        ),
        reply_to=message,
    )
