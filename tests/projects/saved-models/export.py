"""Exports two models to a folder: `scale` in two versions of TensorFlow 2, `texts` with two signatures."""

import sys

import tensorflow as tf

folder = sys.argv[1]


class Scale(tf.Module):
    def __init__(self, factor):
        self.factor = tf.Variable(float(factor))

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def __call__(self, x):
        return {"scaled": x * self.factor, "order": tf.argsort(x), "largest": tf.argmax(x, axis=1)}


for factor in (3, 10):
    tf.saved_model.save(Scale(factor), f"{folder}/scale/{factor}")


class Texts(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def describe(self, text):
        return {"upper": tf.strings.upper(text, encoding="utf-8"), "bytes": tf.strings.length(text)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="text")])
    def has_digits(self, text):
        return {"has_digits": tf.strings.regex_full_match(text, ".*[0-9].*")}


texts = Texts()
signatures = {
    "describe": texts.describe.get_concrete_function(),
    "serving_default": texts.has_digits.get_concrete_function(),
}
tf.saved_model.save(texts, f"{folder}/texts", signatures=signatures)
