//! A model of the catalogue in plain arithmetic: the gradient of one row's loss, which depends on that row and the
//! parameters alone.

use consilium_protocol::model::Layout;

use super::metrics::sigmoid;

/// Linear layers with ReLU between, to one logit.
pub(super) struct Network<'a> {
    layers: Vec<Layer<'a>>,
}

struct Layer<'a> {
    /// Row-major, a row for each output.
    weight: &'a [f32],
    bias: &'a [f32],
}

impl<'a> Network<'a> {
    /// `parameters` fit the layout, as `TrainJob::check` made sure.
    pub(super) fn of(layout: &Layout, parameters: &'a [f32]) -> Self {
        let mut rest = parameters;
        let mut cut = |length: usize| {
            let (values, tail) = rest.split_at(length.min(rest.len()));
            rest = tail;
            values
        };
        let tensors = layout.tensors().chunks_exact(2);
        let layers = tensors.filter_map(|pair| match pair {
            [weight, bias] => Some(Layer {
                weight: cut(weight.len()),
                bias: cut(bias.len()),
            }),
            _ => None,
        });
        Self {
            layers: layers.collect(),
        }
    }

    /// Adds `share` of the gradient of the row's loss to `gradient`, in the layout's order.
    pub(super) fn add_gradient(&self, x: &[f32], label: f32, share: f64, gradient: &mut [f64]) {
        let mut inputs: Vec<Vec<f64>> = Vec::with_capacity(self.layers.len());
        let mut values: Vec<f64> = x.iter().copied().map(f64::from).collect();
        for (number, layer) in self.layers.iter().enumerate() {
            if number > 0 {
                values.iter_mut().for_each(|value| *value = value.max(0.0));
            }
            let outputs = layer.forward(&values);
            inputs.push(std::mem::replace(&mut values, outputs));
        }
        let logit = values.first().copied().unwrap_or(0.0);
        // The derivative of the loss by the outputs of a layer, from the last to the first.
        let mut slopes = vec![(sigmoid(logit) - f64::from(label)) * share];
        let mut end = gradient.len();
        for (layer, input) in self.layers.iter().zip(&inputs).rev() {
            let start = end.saturating_sub(layer.weight.len() + layer.bias.len());
            if let Some(of_layer) = gradient.get_mut(start..end) {
                layer.add_gradient(input, &slopes, of_layer);
            }
            end = start;
            slopes = layer.backward(input, &slopes);
        }
    }
}

impl Layer<'_> {
    fn forward(&self, input: &[f64]) -> Vec<f64> {
        let rows = self.weight.chunks_exact(input.len().max(1));
        let output = |(weights, bias): (&[f32], &f32)| {
            let products = weights.iter().zip(input).map(|(w, x)| f64::from(*w) * x);
            products.sum::<f64>() + f64::from(*bias)
        };
        rows.zip(self.bias).map(output).collect()
    }

    /// Adds the derivatives by weights and biases, which are the outputs' by the inputs.
    fn add_gradient(&self, input: &[f64], slopes: &[f64], gradient: &mut [f64]) {
        let (weights, biases) = gradient.split_at_mut(self.weight.len());
        for (of_output, slope) in weights.chunks_exact_mut(input.len().max(1)).zip(slopes) {
            for (place, x) in of_output.iter_mut().zip(input) {
                *place += slope * x;
            }
        }
        for (place, slope) in biases.iter_mut().zip(slopes) {
            *place += slope;
        }
    }

    /// The derivatives by the values before the ReLU that made `input`. (For the first layer they are not needed.)
    fn backward(&self, input: &[f64], slopes: &[f64]) -> Vec<f64> {
        let mut before = vec![0.0; input.len()];
        let rows = self.weight.chunks_exact(input.len().max(1));
        for (weights, slope) in rows.zip(slopes) {
            for (place, weight) in before.iter_mut().zip(weights) {
                *place += f64::from(*weight) * slope;
            }
        }
        // ReLU lets through what is positive.
        for (place, value) in before.iter_mut().zip(input) {
            if *value <= 0.0 {
                *place = 0.0;
            }
        }
        before
    }
}
