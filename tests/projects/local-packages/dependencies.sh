# Sees what .env exports; leaves a file for the handler to find.
mkdir -p downloads
echo "$GREETING" > downloads/greeting.txt
