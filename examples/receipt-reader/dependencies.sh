# Without its dependencies, which are in requirements.txt: it asks for opencv-python, whose wheel needs the system's
# libGL; opencv-python-headless is the same without windows.
pip install --no-deps rapidocr-onnxruntime==1.4.4
