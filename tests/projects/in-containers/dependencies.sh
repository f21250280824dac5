id -u > /etc/insula-built-by
echo "from the build" > written.txt
